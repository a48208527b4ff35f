-- Find the sessions with versions in the outbox that name a participant.
--
-- The index of participants has all of them, unless an earlier release wrote an entry. Then the newest entries are
-- scanned as well.
--
-- uses write_or_drop
--
-- KEYS  1 outbox  2 participants  3 indexed entries
-- ARGV  1 participant id  2 key of a session up to the session id  3 maximum number of sessions
--       4 maximum number of entries to scan  5 maximum number of bytes to scan
-- Returns {session id, …}, each once

local found, known = {}, {}

local first, last = '[' .. ARGV[1] .. ' ', '(' .. ARGV[1] .. '!'
for _, member in ipairs(write('ZRANGE', KEYS[2], last, first, 'BYLEX', 'REV', 'LIMIT', 0, ARGV[3])) do
  local id = string.sub(member, #ARGV[1] + 2)
  local session = redis.pcall('HMGET', ARGV[2] .. id, 'version', 'audited')
  if session[1] and session[1] ~= session[2] then
    known[id] = true
    found[#found + 1] = id
  end
end

local length = write('XLEN', KEYS[1])
if length == 0 then return found end
-- A worker of an earlier release removes the oldest entries from the outbox only.
local oldest = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
if write('ZCOUNT', KEYS[3], string.match(oldest[1], '^%d+'), '+inf') >= length then return found end

local scanned, bytes, from = 0, 0, '+'
local limit = tonumber(ARGV[4])
while scanned < limit and bytes < tonumber(ARGV[5]) do
  local entries = redis.call('XREVRANGE', KEYS[1], from, '-', 'COUNT', math.min(16, limit - scanned))
  if #entries == 0 then break end
  for _, entry in ipairs(entries) do
    local fields = {}
    for at = 1, #entry[2], 2 do
      fields[entry[2][at]] = entry[2][at + 1]
      bytes = bytes + #entry[2][at + 1]
    end
    local id, document = fields.session_id, fields.state
    -- The participant id is searched as text, which is unique in practice. The caller parses the JSON and checks that
    -- the id is that of a participant. For a removed participant, only the event has the id.
    if id and document and not known[id]
        and (string.find(document, ARGV[1], 1, true) or string.find(fields.event or '', ARGV[1], 1, true)) then
      known[id] = true
      found[#found + 1] = id
    end
  end
  scanned = scanned + #entries
  from = '(' .. entries[#entries][1]
end
return found
