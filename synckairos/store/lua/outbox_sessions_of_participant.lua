-- Find the sessions that have a version in the outbox with a participant. Only the newest entries are scanned.
--
-- KEYS  1 outbox   ARGV  1 participant id  2 maximum number of entries to scan
-- Returns {session id, …} without repetition

local found, known, scanned, from = {}, {}, 0, '+'
local limit = tonumber(ARGV[2])
while scanned < limit do
  local entries = redis.call('XREVRANGE', KEYS[1], from, '-', 'COUNT', math.min(64, limit - scanned))
  if #entries == 0 then break end
  for _, entry in ipairs(entries) do
    local fields = {}
    for at = 1, #entry[2], 2 do fields[entry[2][at]] = entry[2][at + 1] end
    local id, document = fields.session_id, fields.state
    -- The participant id is searched as text, because it is unlikely to occur elsewhere. The caller parses the JSON and
    -- checks whether it is the id of a participant. The id of a removed participant is only in the event.
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
