-- Move an outbox entry that Postgres rejected out of the stream, or store another failure of a failed entry.
--
-- uses write_replacing_invalid
--
-- KEYS  1 outbox  2 failed entries (sorted set: entry id by the instant of its next attempt, +inf if set aside)
--       3 the hash of the failed entry  4 tally  5 bytes in the outbox  6 gaps  7 indexed entries
--       8 bytes by tenant
-- ARGV  1 entry id  2 ms until the next attempt ('' sets the entry aside)  3 retries so far  4 error
--       5 bytes that an entry of a tenant counts at least
--       6 document of the entry: it replaces the splices of an entry in the stream ('' leaves the entry as it is)
-- Returns {dropped key, …}

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local found = write('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1]
if not found and redis.call('EXISTS', KEYS[3]) == 0 then return {} end

local next_attempt = 'inf'
if ARGV[2] ~= '' then next_attempt = string.format('%.0f', now + tonumber(ARGV[2])) end
if found then
  -- The fields of the outbox entry are stored unchanged. The names of additional fields begin with a colon. Splices are
  -- replaced, because the version before can leave the outbox.
  for at = 1, #found[2], 2 do
    local name, value = found[2][at], found[2][at + 1]
    if ARGV[6] ~= '' and name == 'change' then name, value = 'state', ARGV[6] end
    if ARGV[6] == '' or name ~= 'payload_hash' then write('HSET', KEYS[3], name, value) end
  end
  redis.call('HSET', KEYS[3], ':first_failed_at_ms', string.format('%.0f', now))
  write('XDEL', KEYS[1], ARGV[1])
  write('ZREM', KEYS[7], ARGV[1])
  local bytes, fields = 0, {}
  for at = 2, #found[2], 2 do
    if found[2][at - 1] ~= 'previous' then bytes = bytes + #found[2][at] end
    fields[found[2][at - 1]] = found[2][at]
  end
  if fields.session_id and fields.epoch and fields.version then
    -- Until Postgres has this version, its session has a gap at this version.
    write('ZADD', KEYS[6], 0, fields.session_id .. ' ' .. fields.epoch .. ' ' .. fields.version)
  end
  if write('XLEN', KEYS[1]) == 0 then
    redis.call('DEL', KEYS[5], KEYS[8])
  else
    write('DECRBY', KEYS[5], bytes)
    local tenant = string.match(fields.session_id or '', '^([^/]+)/')
    if tenant and write('HINCRBY', KEYS[8], tenant, -math.max(bytes, ARGV[5])) <= 0 then
      redis.call('HDEL', KEYS[8], tenant)
    end
  end
  write('HINCRBY', KEYS[4], 'isolated', 1)
end
write('HSET', KEYS[3], ':tries', ARGV[3], ':error', ARGV[4])
write('ZADD', KEYS[2], next_attempt, ARGV[1])
return dropped
