-- Find the sessions with versions in the outbox that name a participant. Scans the newest entries only.
--
-- KEYS  1 outbox   ARGV  1 participant id  2 maximum number of entries to scan
-- Returns {session id, …}, each once

local found, known, scanned, from = {}, {}, 0, '+'
local limit = tonumber(ARGV[2])
while scanned < limit do
  local entries = redis.call('XREVRANGE', KEYS[1], from, '-', 'COUNT', math.min(64, limit - scanned))
  if #entries == 0 then break end
  for _, entry in ipairs(entries) do
    local fields = {}
    for at = 1, #entry[2], 2 do fields[entry[2][at]] = entry[2][at + 1] end
    local id, document = fields.session_id, fields.state
    -- The id is searched as text, which is practically unique. The caller parses the JSON and checks whether it is that
    -- of a participant. A removed participant is only in the event.
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
