-- Return an answer from the read cache. If the answer is not cached, take the lease on querying Postgres.
--
-- KEYS  1 hash of the read cache  2 session, if the hash has the events of a session
-- ARGV  1 kind  2 query  3 lease token  4 ms that a lease lasts  5 ms that answers stay after their last use
-- Returns {hit, answer} | {miss, ''} | {bypassed, ''}. The cache is bypassed if Redis has the session unfinished.

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
