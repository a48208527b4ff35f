-- Find the entries of a session in the outbox, newest first.
--
-- Each entry has the id of the session's entry before it. If an earlier release wrote an entry of the session, the
-- newest entries of the stream are scanned instead.
--
-- KEYS  1 outbox  2 session
-- ARGV  1 session name  2 the part of a failed entry's key before the entry id  3 maximum number of entries
--       4 maximum number of bytes  5 maximum number of bytes of a scan
-- Returns {epoch, version, event, document or splices, hash of the document with splices or '', …}. An element without an
-- event is not an entry in the outbox, but a failed entry with a document. The splices after it need this document.

local known = redis.call('HMGET', KEYS[2], 'version', 'audited', 'entry')
if not known[1] or known[1] == known[2] then return {} end

local found, bytes, count = {}, 0, 0
local limit = tonumber(ARGV[3])

local function add(...)
  for _, value in ipairs({...}) do found[#found + 1] = value end
end

local function read(entry)
  local fields = {}
  for at = 1, #entry[2], 2 do
    fields[entry[2][at]] = entry[2][at + 1]
    bytes = bytes + #entry[2][at + 1]
  end
  count = count + 1
  local body = fields.state or (fields.payload_hash and fields.change)
  if fields.session_id == ARGV[1] and fields.epoch and fields.version and fields.event and body then
    add(fields.epoch, fields.version, fields.event, body, not fields.state and fields.payload_hash or '')
    -- The caller builds the document, which has about as many bytes as the document before the splices.
    if not fields.state then bytes = bytes + (tonumber(string.match(body, '^%d+')) or 0) end
  end
  return fields
end

-- Read the entry `id` and each entry before it. Return false if an entry of an earlier release ends the search.
local function follow(id)
  while id ~= '' and id ~= '?' and count < limit and bytes < tonumber(ARGV[4]) do
    local entry = redis.call('XRANGE', KEYS[1], id, id)[1]
    local previous
    if entry then
      previous = read(entry).previous
      if not previous then return false end
    else
      -- A failed entry is not in the stream. If an entry is neither failed nor in the stream, Postgres has it. Then
      -- Postgres also has all entries before it.
      local failed = redis.call('HMGET', ARGV[2] .. id, 'previous', 'epoch', 'version', 'state')
      if failed[2] and failed[3] and failed[4] then
        add(failed[2], failed[3], '', failed[4], '')
        bytes = bytes + #failed[4]
      end
      previous = failed[1] or ''
    end
    id = previous
  end
  return id ~= '?'
end

local id, version = string.match(known[3] or '', '^(%S+) (%d+)$')
if version == known[1] and follow(id) then return found end

found, bytes, count = {}, 0, 0
local from = '+'
while count < limit and bytes < tonumber(ARGV[5]) do
  local entries = redis.call('XREVRANGE', KEYS[1], from, '-', 'COUNT', math.min(16, limit - count))
  if #entries == 0 then break end
  for _, entry in ipairs(entries) do read(entry) end
  from = '(' .. entries[#entries][1]
end
return found
