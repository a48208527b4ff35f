-- Get an answer from the read cache. If it is not there, take the lease on querying Postgres.
--
-- KEYS  1 cache  2 session, if the cache holds the events of a session
-- ARGV  1 kind  2 query  3 token  4 ms that a lease lasts  5 ms that answers stay after their last use
-- Returns {hit, answer} | {miss, ''} | {bypassed, ''}: bypassed if the session is live and not final.

local FINAL = {expired = true, completed = true, cancelled = true}

if ARGV[1] == 'events' then
  local status = redis.call('HGET', KEYS[2], 'status')
  if status and not FINAL[status] then return {'bypassed', ''} end
end
local answer = redis.call('HGET', KEYS[1], 'answer:' .. ARGV[2])
if answer then
  redis.call('PEXPIRE', KEYS[1], ARGV[5])
  return {'hit', answer}
end
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('HSET', KEYS[1], 'lease:' .. ARGV[2], ARGV[3])
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
else
  redis.call('HSET', KEYS[1], 'lease:' .. ARGV[2], ARGV[3])
end
return {'miss', ''}
