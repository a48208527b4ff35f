-- Find sessions that somebody takes part in and that still have versions in the outbox, looking at the newest ones only.
--
-- KEYS  1 outbox   ARGV  1 the participant's id  2 how many entries to look at
-- Returns {session id, …}, each once

local found, known, seen, from = {}, {}, 0, '+'
local limit = tonumber(ARGV[2])
while seen < limit do
  local entries = redis.call('XREVRANGE', KEYS[1], from, '-', 'COUNT', math.min(64, limit - seen))
  if #entries == 0 then break end
  for _, entry in ipairs(entries) do
    local fields = {}
    for at = 1, #entry[2], 2 do fields[entry[2][at]] = entry[2][at + 1] end
    local id, state = fields.session_id, fields.state
    -- An id is as good as unique as text: whether it is that of a participant is looked at where JSON is understood.
    -- Of who was removed only the event tells.
    if id and state and not known[id]
        and (string.find(state, ARGV[1], 1, true) or string.find(fields.event or '', ARGV[1], 1, true)) then
      known[id] = true
      found[#found + 1] = id
    end
  end
  seen = seen + #entries
  from = '(' .. entries[#entries][1]
end
return found
