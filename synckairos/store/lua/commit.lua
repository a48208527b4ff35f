-- Commit transitions of one session, or only what was decided for a command id.
-- Validate first, then write, publish last: an error after the first write would not undo it.
-- User JSON is opaque here, and versions stay strings: Lua's numbers never touch them.
--
-- KEYS  1 session  2 history  3 commands  4 deadlines  5 outbox  6 live  7 how many bytes wait in the outbox
-- ARGV  1 session id          2 epoch that must be there ('' for: no session)   3 version that must be there
--       4 command id ('')     5 its record         6 schema        7 new epoch   8 status    9 deleted (0/1)
--      10 due ms ('')        11 versions the history keeps        12 feed channel           13 wake channel
--      14 live since ms ('' when final)
--      15 entries that may wait ('' for what goes in however many do)   16 bytes   17 ms that the oldest may ('')
--      18… four for each transition: version, event, state, and the header that makes a feed message of the state
-- Returns {'ok'} | {'replay', record} | {'conflict', seconds, microseconds, epoch, version, deleted, due, state, audited}
--       | {'full', which bound was reached: entries, bytes or age}

local FINAL = {expired = true, completed = true, cancelled = true}
local session, history, commands = KEYS[1], KEYS[2], KEYS[3]
local command_id = ARGV[4]

if command_id ~= '' then
  local record = redis.call('HGET', commands, command_id)
  if record then return {'replay', record} end
end

local found = redis.call('HMGET', session, 'epoch', 'version')
if (found[1] or '') ~= ARGV[2] or (found[1] and found[2] ~= ARGV[3]) then
  local time = redis.call('TIME')
  local winner = redis.call('HMGET', session, 'epoch', 'version', 'deleted', 'due', 'state', 'audited')
  return {'conflict', time[1], time[2], unpack(winner, 1, 6)}
end

local is_earlier = false
if #ARGV >= 21 then
  if ARGV[15] ~= '' then
    if redis.call('XLEN', KEYS[5]) >= tonumber(ARGV[15]) then return {'full', 'entries'} end
    local oldest = ARGV[17] ~= '' and redis.call('XRANGE', KEYS[5], '-', '+', 'COUNT', 1)[1]
    if oldest then
      local time = redis.call('TIME')
      local age = time[1] * 1000 + math.floor(time[2] / 1000) - tonumber(string.match(oldest[1], '^%d+'))
      if age >= tonumber(ARGV[17]) then return {'full', 'age'} end
    end
  end
  local bytes = 0
  for at = 18, #ARGV, 4 do
    bytes = bytes + #ARGV[1] + #ARGV[7] + #ARGV[at] + #ARGV[at + 1] + #ARGV[at + 2]
  end
  -- Counting and looking are one call; where there is no room it is taken back, and nothing else was written.
  local waiting = redis.call('INCRBY', KEYS[7], bytes) - bytes
  if ARGV[15] ~= '' and waiting >= tonumber(ARGV[16]) then
    redis.call('DECRBY', KEYS[7], bytes)
    return {'full', 'bytes'}
  end
  if found[1] and found[1] ~= ARGV[7] then redis.call('HDEL', session, 'audited') end
  redis.call('HSET', session, 'schema', ARGV[6], 'epoch', ARGV[7], 'version', ARGV[#ARGV - 3],
    'status', ARGV[8], 'deleted', ARGV[9], 'due', ARGV[10], 'state', ARGV[#ARGV - 1])
  for at = 18, #ARGV, 4 do
    redis.call('RPUSH', history, ARGV[at + 3] .. ARGV[at + 2])
    redis.call('XADD', KEYS[5], '*', 'session_id', ARGV[1], 'epoch', ARGV[7], 'version', ARGV[at],
      'event', ARGV[at + 1], 'state', ARGV[at + 2])
  end
  redis.call('LTRIM', history, '-' .. ARGV[11], '-1')
  if redis.call('PERSIST', session) == 1 then
    -- A time to live is given to all of them together.
    redis.call('PERSIST', history)
    redis.call('PERSIST', commands)
  end
  if ARGV[10] == '' then
    redis.call('ZREM', KEYS[4], ARGV[1])
  else
    local first = redis.call('ZRANGE', KEYS[4], 0, 0, 'WITHSCORES')
    is_earlier = not first[2] or tonumber(ARGV[10]) < tonumber(first[2])
    redis.call('ZADD', KEYS[4], ARGV[10], ARGV[1])
  end
  if ARGV[14] == '' then
    redis.call('ZREM', KEYS[6], ARGV[1])
  else
    redis.call('ZADD', KEYS[6], ARGV[14], ARGV[1])
  end
end

if command_id ~= '' then
  redis.call('HSET', commands, command_id, ARGV[5])
  local ttl = redis.call('PTTL', session)
  if ttl > 0 and FINAL[redis.call('HGET', session, 'status')] then
    -- Nothing new for the drain, which alone gives time to live: remember as long as the session, an hour at least.
    redis.call('PEXPIRE', commands, math.max(ttl, 3600000))
  end
end

for at = 18, #ARGV, 4 do
  redis.call('PUBLISH', ARGV[12], ARGV[at + 3] .. ARGV[at + 2])
end
if is_earlier then redis.call('PUBLISH', ARGV[13], ARGV[10]) end
return {'ok'}
