-- Find the sessions that have a version in the outbox with a participant.
--
-- The index of participants has all of these sessions, unless an earlier release wrote an entry. In that case the
-- newest entries are scanned too.
--
-- uses write_replacing_invalid
--
-- KEYS  1 outbox  2 index of participants  3 indexed entries
-- ARGV  1 participant name  2 the part of a session's key before the session name  3 maximum number of sessions
--       4 maximum number of entries to scan  5 maximum number of bytes to scan
-- Returns {session name, …} without repetition

local found, known = {}, {}
local prefix, participant_id = string.match(ARGV[1], '^(.-)([^/]*)$') -- the tenant with a slash, or ''

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
-- A worker of an earlier release removes entries only from the outbox, the oldest first, and not from the index.
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
    -- The participant id is searched as text, because it is unlikely to occur elsewhere. The caller parses the JSON and
    -- checks whether it is the id of a participant. The id of a removed participant is only in the event.
    if id and document and not known[id] and string.match(id, '^(.-)[^/]*$') == prefix
        and (string.find(document, participant_id, 1, true)
          or string.find(fields.event or '', participant_id, 1, true)) then
      known[id] = true
      found[#found + 1] = id
    end
  end
  scanned = scanned + #entries
  from = '(' .. entries[#entries][1]
end
return found
