-- Commit transitions of one session, or only what was decided for a command id.
-- Validate first, then write, publish last: an error after the first write would not undo it.
-- User JSON is opaque here, and versions stay strings: Lua's numbers never touch them.
--
-- KEYS  1 session  2 history  3 commands  4 deadlines  5 outbox  6 live  7 how many bytes wait in the outbox
-- ARGV  1 session id          2 epoch that must be there ('' for: no session)   3 version that must be there
--       4 tag that must be there ('' for: any)           5 command id ('')      6 its record     7 schema
--       8 new epoch           9 status       10 deleted (0/1)     11 due ms ('')
--      12 versions the history keeps         13 feed channel      14 wake channel
--      15 live since ms ('' when final)
--      16 entries that may wait ('' for what goes in however many do)   17 bytes   18 ms that the oldest may ('')
--      19… five for each transition: version, tag, event, header, and the body that makes a feed message with it: the
--          document, or splices that make it of the one before (wire/document_splices.py)
-- Returns {'ok'} | {'replay', record} | {'conflict', seconds, microseconds, epoch, version, deleted, due, state, audited,
--         tag} | {'full', which bound was reached: entries, bytes or age}

local FINAL = {expired = true, completed = true, cancelled = true}
local FIRST, EACH = 19, 5
local session, history, commands = KEYS[1], KEYS[2], KEYS[3]
local command_id = ARGV[5]

-- Apply a body, which is a document or document splices (wire/document_splices.py describes the format).
-- Return the document after it, and the body that leads back to the document before.
local function apply_body(before, body)
  if string.byte(body) == 123 then return body, before end -- it begins with a brace: a document
  local line_end = string.find(body, '\n', 1, true)
  local numbers = string.gmatch(string.sub(body, 1, line_end - 1), '%d+')
  assert(tonumber(numbers()) == #before, 'splices for another document')
  local pieces, splices_back, texts_back = {}, {}, {}
  local kept_from, text_from, length = 1, line_end + 1, 0
  for number in numbers do
    local offset, removed, inserted = tonumber(number), tonumber(numbers()), tonumber(numbers())
    pieces[#pieces + 1] = string.sub(before, kept_from, offset)
    pieces[#pieces + 1] = string.sub(body, text_from, text_from + inserted - 1)
    length = length + offset + 1 - kept_from
    splices_back[#splices_back + 1] = length .. ' ' .. inserted .. ' ' .. removed
    texts_back[#texts_back + 1] = string.sub(before, offset + 1, offset + removed)
    kept_from, text_from, length = offset + 1 + removed, text_from + inserted, length + inserted
  end
  pieces[#pieces + 1] = string.sub(before, kept_from)
  local after = table.concat(pieces)
  return after, #after .. ' ' .. table.concat(splices_back, ' ') .. '\n' .. table.concat(texts_back)
end

if command_id ~= '' then
  local record = redis.call('HGET', commands, command_id)
  if record then return {'replay', record} end
end

local found = redis.call('HMGET', session, 'epoch', 'version', 'tag')
local is_other = (found[1] or '') ~= ARGV[2]
  or (found[1] and (found[2] ~= ARGV[3] or (ARGV[4] ~= '' and found[3] ~= ARGV[4])))
if is_other then
  local time = redis.call('TIME')
  local winner = redis.call('HMGET', session, 'epoch', 'version', 'deleted', 'due', 'state', 'audited', 'tag')
  return {'conflict', time[1], time[2], unpack(winner, 1, 7)}
end

local is_earlier = false
if #ARGV >= FIRST then
  if ARGV[16] ~= '' then
    if redis.call('XLEN', KEYS[5]) >= tonumber(ARGV[16]) then return {'full', 'entries'} end
    local oldest = ARGV[18] ~= '' and redis.call('XRANGE', KEYS[5], '-', '+', 'COUNT', 1)[1]
    if oldest then
      local time = redis.call('TIME')
      local age = time[1] * 1000 + math.floor(time[2] / 1000) - tonumber(string.match(oldest[1], '^%d+'))
      if age >= tonumber(ARGV[18]) then return {'full', 'age'} end
    end
  end
  local bytes, states, back = 0, {}, {}
  local state = redis.call('HGET', session, 'state') or ''
  for at = FIRST, #ARGV, EACH do
    state, back[at] = apply_body(state, ARGV[at + 4])
    states[at] = state
    bytes = bytes + #ARGV[1] + #ARGV[8] + #ARGV[at] + #ARGV[at + 2] + #state
  end
  -- Counting and looking are one call; where there is no room it is taken back, and nothing else was written.
  local waiting = redis.call('INCRBY', KEYS[7], bytes) - bytes
  if ARGV[16] ~= '' and waiting >= tonumber(ARGV[17]) then
    redis.call('DECRBY', KEYS[7], bytes)
    return {'full', 'bytes'}
  end
  if found[1] and found[1] ~= ARGV[8] then redis.call('HDEL', session, 'audited') end
  redis.call('HSET', session, 'schema', ARGV[7], 'epoch', ARGV[8], 'version', ARGV[#ARGV - 4], 'tag', ARGV[#ARGV - 3],
    'status', ARGV[9], 'deleted', ARGV[10], 'due', ARGV[11], 'state', state)
  for at = FIRST, #ARGV, EACH do
    redis.call('RPUSH', history, ARGV[at + 3] .. back[at])
    redis.call('XADD', KEYS[5], '*', 'session_id', ARGV[1], 'epoch', ARGV[8], 'version', ARGV[at],
      'event', ARGV[at + 2], 'state', states[at])
  end
  redis.call('LTRIM', history, '-' .. ARGV[12], '-1')
  if redis.call('PERSIST', session) == 1 then
    -- A time to live is given to all of them together.
    redis.call('PERSIST', history)
    redis.call('PERSIST', commands)
  end
  if ARGV[11] == '' then
    redis.call('ZREM', KEYS[4], ARGV[1])
  else
    local first = redis.call('ZRANGE', KEYS[4], 0, 0, 'WITHSCORES')
    is_earlier = not first[2] or tonumber(ARGV[11]) < tonumber(first[2])
    redis.call('ZADD', KEYS[4], ARGV[11], ARGV[1])
  end
  if ARGV[15] == '' then
    redis.call('ZREM', KEYS[6], ARGV[1])
  else
    redis.call('ZADD', KEYS[6], ARGV[15], ARGV[1])
  end
end

if command_id ~= '' then
  redis.call('HSET', commands, command_id, ARGV[6])
  local ttl = redis.call('PTTL', session)
  if ttl > 0 and FINAL[redis.call('HGET', session, 'status')] then
    -- Nothing new for the drain, which alone gives time to live: remember as long as the session, an hour at least.
    redis.call('PEXPIRE', commands, math.max(ttl, 3600000))
  end
end

for at = FIRST, #ARGV, EACH do
  redis.call('PUBLISH', ARGV[13], ARGV[at + 3] .. ARGV[at + 4])
end
if is_earlier then redis.call('PUBLISH', ARGV[14], ARGV[11]) end
return {'ok'}
