-- Find the entries of a session in the outbox, newest first. Only the newest entries of the stream are scanned.
--
-- KEYS  1 outbox  2 session   ARGV  1 session id  2 maximum number of entries to scan
-- Returns {epoch, version, event, document, …}

local known = redis.call('HMGET', KEYS[2], 'version', 'audited', 'epoch')
if known[1] and known[1] == known[2] then return {} end

local found, scanned, from = {}, 0, '+'
local limit = tonumber(ARGV[2])
while scanned < limit do
  local entries = redis.call('XREVRANGE', KEYS[1], from, '-', 'COUNT', math.min(64, limit - scanned))
  if #entries == 0 then break end
  for _, entry in ipairs(entries) do
    local fields = {}
    for at = 1, #entry[2], 2 do fields[entry[2][at]] = entry[2][at + 1] end
    if fields.session_id == ARGV[1] and fields.epoch and fields.version and fields.event and fields.state then
      for _, name in ipairs({'epoch', 'version', 'event', 'state'}) do found[#found + 1] = fields[name] end
    end
  end
  scanned = scanned + #entries
  from = '(' .. entries[#entries][1]
end
return found
