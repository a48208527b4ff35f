-- Move an entry that Postgres refuses out of the way, or note that it was refused again.
--
-- KEYS  1 outbox  2 isolated (sorted set: id by the instant of its next try, +inf when set aside)  3 the entry's hash
--       4 tally  5 how many bytes wait in the outbox  6 gaps
-- ARGV  1 entry id  2 ms until the next try ('' sets it aside)  3 tries so far  4 the error
-- Returns 1, or 0 where there is no such entry.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local found = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1]
if not found and redis.call('EXISTS', KEYS[3]) == 0 then return 0 end

local next_try = 'inf'
if ARGV[2] ~= '' then next_try = string.format('%.0f', now + tonumber(ARGV[2])) end
if found then
  -- The entry's own fields stay as they are, whatever they are; ours begin with a colon.
  redis.call('HSET', KEYS[3], unpack(found[2]))
  redis.call('HSET', KEYS[3], ':first_failed_at_ms', string.format('%.0f', now))
  redis.call('XDEL', KEYS[1], ARGV[1])
  local bytes, of = 0, {}
  for at = 2, #found[2], 2 do
    bytes = bytes + #found[2][at]
    of[found[2][at - 1]] = found[2][at]
  end
  if of.session_id and of.epoch and of.version then
    -- Until it is in Postgres after all, its session isn't there in full.
    redis.call('ZADD', KEYS[6], 0, of.session_id .. ' ' .. of.epoch .. ' ' .. of.version)
  end
  if redis.call('XLEN', KEYS[1]) == 0 then redis.call('DEL', KEYS[5]) else redis.call('DECRBY', KEYS[5], bytes) end
  redis.call('HINCRBY', KEYS[4], 'isolated', 1)
end
redis.call('HSET', KEYS[3], ':tries', ARGV[3], ':error', ARGV[4])
redis.call('ZADD', KEYS[2], next_try, ARGV[1])
return 1
