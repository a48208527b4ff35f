-- Commit new versions of one session and an idempotency record, or only the idempotency record.
-- First all checks run, then all writes, and last the messages are published. An error after the first write would not
-- undo that write.
-- JSON from users is not parsed here. Versions stay strings, so Lua's floating-point numbers cannot change them.
-- Invalid data in the session's hash or in its idempotency records is an error before the first write. Invalid data in
-- any other key is dropped: it is derived data, or no release can read it.
-- Each call of a command takes about a microsecond of Redis' only thread. So the script omits calls that would change
-- nothing. Comments say how it knows that.
--
-- uses write_replacing_invalid
-- uses participants_of_document
--
-- The tables in `store/commit_script.py` have the same names in the same order.
--
-- Returns {'ok', dropped key, …}
--       | {'replay', record}: the command id already has an idempotency record
--       | {'conflict', seconds, microseconds, epoch, version, deleted, due, document, audited, tag}: the stored session
--       | {'fenced'}: the sessions of the partition are being moved to another store
--       | {'full', limit}: the outbox has reached its limit of entries, bytes or age, or the tenant its share

local session_key = KEYS[1]
local history_key = KEYS[2]
local records_key = KEYS[3]
local deadlines_key = KEYS[4]
local outbox_key = KEYS[5]
local live_key = KEYS[6]
local outbox_bytes_key = KEYS[7]
local indexed_entries_key = KEYS[8]
local outbox_participants_key = KEYS[9]
local outbox_tenants_key = KEYS[10]
local fence_key = KEYS[11] -- while it exists, a copy of the store is completed, and nothing is committed

local session_id = ARGV[1] -- the name of the session: `<tenant>/<id>`, or the id in the default tenant
local base_epoch = ARGV[2] -- the epoch that must be stored, '' if no session may be stored
local base_version = ARGV[3] -- the version that must be stored
local base_tag = ARGV[4] -- the tag that must be stored, '' for any tag
local command_id = ARGV[5] -- '' without a command id
local record = ARGV[6]
local schema = ARGV[7]
local epoch = ARGV[8] -- of the new versions
local status = ARGV[9]
local deleted = ARGV[10] -- 0 or 1
local due_ms = ARGV[11] -- '' if no transition is due by time
local history_length = ARGV[12] -- number of versions that the version history keeps
local feed_channel = ARGV[13]
local wake_up_channel = ARGV[14]
local live_since_ms = ARGV[15] -- '' if the session is final
local max_entries = ARGV[16] -- limits of the outbox: '' for the limit of entries disables all three limits
local max_bytes = ARGV[17]
local max_age_ms = ARGV[18] -- '' for no limit
local changes_participants = ARGV[19] -- 0 or 1
-- '' for the default tenant, whose entries are not counted. Otherwise the tenant, the number of bytes that it may have in
-- the outbox ('-' for no limit), and the number of bytes that an entry counts at least.
local outbox_share = ARGV[20]
-- The message of the only new version for the version history, '' if the script builds the messages.
local packed_message = ARGV[21]

-- Then six arguments for each new version. The header and the body together are a feed message. The body is the
-- document, or splices that lead to it from the document before (`wire/document_splices.py`). With the SHA-256 of the
-- document, the outbox entry can have the splices instead of the document. It is '' if the entry must have the document.
local FIRST, EACH = 22, 6
local VERSION, TAG, EVENT, HEADER, BODY, PAYLOAD_HASH = 0, 1, 2, 3, 4, 5

local RECORDS_MS = 604800000 -- a week after the last record of a session that is not final
local RECORDS_SLACK_MS = 3600000 -- an hour is added to the TTL of the records, so that it is set only once an hour
local AFTER_DEADLINE_MS = 3600000 -- an hour after the next deadline
local MAX_RECORDS = 1000
local MAX_CHANGES = 64 -- number of consecutive entries of a session with splices
local WAKE_UP_WITHIN_MS = 5000 -- timekeepers read their deadlines more often, even without a wake-up
local MIN_ENTRY_BYTES = 16 -- every entry has more bytes
local ZERO = 48 -- the byte of the digit 0
local has_versions = #ARGV >= FIRST
local last = #ARGV - EACH + 1

-- Return the document that results from a body and the document before, and the reverse body.
local function apply_message_body(before, body)
  if string.byte(body) == 123 then return body, before end
  local line = string.find(body, '\n', 1, true)
  local numbers = string.gmatch(string.sub(body, 1, line - 1), '%d+')
  assert(tonumber(numbers()) == #before, 'splices for another document')
  local pieces, places, removed_texts = {}, {}, {}
  local from, taken, length = 1, line + 1, 0
  for number in numbers do
    local offset, removed, inserted = tonumber(number), tonumber(numbers()), tonumber(numbers())
    pieces[#pieces + 1] = string.sub(before, from, offset)
    pieces[#pieces + 1] = string.sub(body, taken, taken + inserted - 1)
    removed_texts[#removed_texts + 1] = string.sub(before, offset + 1, offset + removed)
    length = length + offset + 1 - from
    places[#places + 1] = length .. ' ' .. inserted .. ' ' .. removed
    from, taken, length = offset + 1 + removed, taken + inserted, length + inserted
  end
  pieces[#pieces + 1] = string.sub(before, from)
  local after = table.concat(pieces)
  return after, #after .. ' ' .. table.concat(places, ' ') .. '\n' .. table.concat(removed_texts)
end

-- Remove half of the idempotency records: first those of refusals, then those of other epochs, then those of the lowest
-- versions. A refused command that is executed again does less harm than an accepted command that is executed again.
local function remove_oldest_records(session_key, records_key, max_records, command_id)
  local stored_epoch = redis.call('HGET', session_key, 'epoch')
  local found, ages = redis.call('HGETALL', records_key), {}
  for at = 1, #found, 2 do
    local record_epoch, version = string.match(found[at + 1], '^%["[^"]*","([^"]*)",(%d+)')
    local is_accepted = string.sub(found[at + 1], -6) == ',null]'
    ages[#ages + 1] = {found[at], is_accepted and 1 or 0, record_epoch == stored_epoch and tonumber(version) or 0}
  end
  table.sort(ages, function(a, b)
    if a[2] ~= b[2] then return a[2] < b[2] end
    return a[3] < b[3] or (a[3] == b[3] and a[1] < b[1])
  end)
  for at = 1, #ages - max_records / 2 do
    if ages[at][1] ~= command_id then redis.call('HDEL', records_key, ages[at][1]) end
  end
end

-- Return whether the outbox entry of a version has splices instead of the document. `run` has the number and the bytes of
-- the session's entries with splices since its last entry with a document. A reader needs all of them. So an entry has
-- the document after `MAX_CHANGES` entries, and if the splices since the last document are larger than the document.
local function extend_run(run, body, document)
  run.bytes = run.bytes + #body
  if run.count < MAX_CHANGES and run.bytes <= #document then
    run.count = run.count + 1
    return true
  end
  run.count, run.bytes = 0, 0
  return false
end

-- Return the run that ends with the stored version. The field is of another version if that version's entry has the
-- document.
local function load_run(session_key, stored_version)
  local field = redis.call('HGET', session_key, 'changes') or ''
  local version, count, bytes = string.match(field, '^(%d+) (%d+) (%d+)$')
  if version ~= stored_version then return {count = 0, bytes = 0} end
  return {count = tonumber(count), bytes = tonumber(bytes)}
end

-- Return whether a tenant has reached its share of the outbox. Earlier releases write and remove entries without a change
-- of the count. So a count above the largest possible value is corrected, and an empty outbox is never full.
local function is_share_used(tenant, max_bytes, min_entry_bytes, outbox_bytes)
  local used = tonumber(write('HGET', outbox_tenants_key, tenant)) or 0
  if used < max_bytes then return false end
  local count = write('XLEN', outbox_key)
  if count == 0 then
    redis.call('DEL', outbox_tenants_key)
    return false
  end
  local most = outbox_bytes + count * min_entry_bytes
  if used <= most then return true end
  redis.call('HSET', outbox_tenants_key, tenant, string.format('%.0f', most))
  return most >= max_bytes
end

if redis.call('EXISTS', fence_key) == 1 then return {'fenced'} end
if command_id ~= '' then
  local found = redis.call('HGET', records_key, command_id)
  if found then return {'replay', found} end
end

-- Only new versions need the document.
local stored = redis.call('HMGET', session_key, 'epoch', 'version', 'tag', 'status', 'entry', 'indexed', 'audited',
  has_versions and 'state' or 'schema')
local stored_epoch, stored_version = stored[1], stored[2]
local is_conflict = (stored_epoch or '') ~= base_epoch
  or (stored_epoch and (stored_version ~= base_version or (base_tag ~= '' and stored[3] ~= base_tag)))
if is_conflict then
  local time = redis.call('TIME')
  local winner = redis.call('HMGET', session_key, 'epoch', 'version', 'deleted', 'due', 'state', 'audited', 'tag')
  return {'conflict', time[1], time[2], unpack(winner, 1, 7)}
end

local had_ttl, is_earliest, now_ms, run = false, false, nil, nil
local counts_records = not has_versions -- with new versions, once in ten versions
if has_versions then
  if max_age_ms ~= '' and max_entries ~= '' then
    local time = redis.call('TIME')
    local latest = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000) - max_age_ms)
    if write('XRANGE', outbox_key, '-', latest, 'COUNT', 1)[1] then return {'full', 'age'} end
  end
  local tenant, share, min_entry_bytes
  if outbox_share ~= '' then
    tenant, share, min_entry_bytes = string.match(outbox_share, '^(%S+) (%S+) (%d+)$')
  end
  local bytes, bytes_of_tenant, documents, bodies_back, is_change = 0, 0, {}, {}, {}
  local document = stored[8] or ''
  for at = FIRST, #ARGV, EACH do
    document, bodies_back[at] = apply_message_body(document, ARGV[at + BODY])
    documents[at] = document
    local content = #document
    if ARGV[at + PAYLOAD_HASH] ~= '' and stored_epoch == epoch then
      run = run or load_run(session_key, stored_version)
      is_change[at] = extend_run(run, ARGV[at + BODY], document)
      if is_change[at] then content = #ARGV[at + BODY] + #ARGV[at + PAYLOAD_HASH] end
    else
      run = run and {count = 0, bytes = 0}
    end
    local size = #session_id + #epoch + #ARGV[at + VERSION] + #ARGV[at + EVENT] + content
    bytes = bytes + size
    if tenant then bytes_of_tenant = bytes_of_tenant + math.max(size, min_entry_bytes) end
  end
  -- Count and check the bytes in one call. If a limit is reached, the count is undone. Nothing else was written.
  -- The entries are counted only if the bytes are enough for that many entries.
  local bytes_before = write('INCRBY', outbox_bytes_key, bytes) - bytes
  if max_entries ~= '' and (bytes_before >= tonumber(max_bytes) or bytes_before >= max_entries * MIN_ENTRY_BYTES) then
    local count = write('XLEN', outbox_key)
    local limit = count >= tonumber(max_entries) and 'entries'
      or (count > 0 and bytes_before >= tonumber(max_bytes) and 'bytes')
    if limit then
      redis.call('DECRBY', outbox_bytes_key, bytes)
      return {'full', limit}
    end
    -- If the outbox is empty, the count of bytes was wrong.
    if count == 0 then redis.call('SET', outbox_bytes_key, bytes) end
  end
  if tenant and share ~= '-' and is_share_used(tenant, tonumber(share), min_entry_bytes, bytes_before) then
    redis.call('DECRBY', outbox_bytes_key, bytes)
    return {'full', 'tenant'}
  end
  -- Each entry has the id of the session's entry before it, so that the entries of a session are found without a scan.
  -- The id is '?' if an earlier release wrote the version before.
  local entry, entry_version = string.match(stored[5] or '', '^(%S+) (%d+)$')
  local is_unlinked = entry_version ~= (stored_version or nil)
  if is_unlinked then entry = stored_version ~= stored[7] and '?' or '' end
  entry = entry or ''
  local added, kept = {}, 0
  for at = FIRST, #ARGV, EACH do
    if is_change[at] then
      entry = write('XADD', outbox_key, '*', 'session_id', session_id, 'epoch', epoch, 'version', ARGV[at + VERSION],
        'event', ARGV[at + EVENT], 'change', ARGV[at + BODY], 'payload_hash', ARGV[at + PAYLOAD_HASH],
        'previous', entry)
    else
      entry = write('XADD', outbox_key, '*', 'session_id', session_id, 'epoch', epoch, 'version', ARGV[at + VERSION],
        'event', ARGV[at + EVENT], 'state', documents[at], 'previous', entry)
    end
    if type(entry) == 'table' then
      -- The outbox has no more ids until a drain has emptied it. Undo all writes.
      for _, id in ipairs(added) do
        redis.call('XDEL', outbox_key, id)
        redis.call('ZREM', indexed_entries_key, id)
        redis.call('LTRIM', history_key, 0, -2)
      end
      redis.call('DECRBY', outbox_bytes_key, bytes)
      error(entry)
    end
    added[#added + 1] = entry
    counts_records = counts_records or string.byte(ARGV[at + VERSION], -1) == ZERO
    now_ms = string.match(entry, '^%d+')
    kept = write('RPUSH', history_key, packed_message ~= '' and packed_message or ARGV[at + HEADER] .. bodies_back[at])
    write('ZADD', indexed_entries_key, now_ms, entry)
  end
  if tenant then write('HINCRBY', outbox_tenants_key, tenant, bytes_of_tenant) end
  local version = ARGV[last + VERSION]
  local is_same_status = stored_epoch == epoch and stored[4] == status
  if is_same_status and deleted == '0' then
    -- A deleted session gets no more versions in its epoch. So epoch, status and deleted stay as they are.
    redis.call('HSET', session_key, 'schema', schema, 'version', version, 'tag', ARGV[last + TAG], 'due', due_ms,
      'state', document, 'entry', entry .. ' ' .. version)
  else
    if stored_epoch and stored_epoch ~= epoch then redis.call('HDEL', session_key, 'audited') end
    redis.call('HSET', session_key, 'schema', schema, 'epoch', epoch, 'version', version, 'tag', ARGV[last + TAG],
      'status', status, 'deleted', deleted, 'due', due_ms, 'state', document, 'entry', entry .. ' ' .. version)
  end
  if is_change[last] then
    redis.call('HSET', session_key, 'changes', string.format('%s %d %d', version, run.count, run.bytes))
  end
  -- An earlier release that wrote the version before can have added participants without the index.
  if not stored[6] or is_unlinked or changes_participants == '1' then
    -- The id of a removed participant is only in the event.
    local texts = {document}
    for at = FIRST, #ARGV, EACH do texts[#texts + 1] = ARGV[at + EVENT] end
    for _, text in ipairs(texts) do
      for _, members in slices_of_participants(text, session_id) do
        write('ZADD', outbox_participants_key, unpack(members))
      end
    end
    redis.call('HSET', session_key, 'indexed', '1')
  end
  -- The history is trimmed once in several versions.
  if kept > history_length * 1.125 then write('LTRIM', history_key, '-' .. history_length, '-1') end
  -- Only a session whose newest version is in Postgres can have a TTL.
  had_ttl = stored_version == stored[7] and redis.call('PERSIST', session_key) == 1
  if had_ttl then redis.call('PERSIST', history_key) end -- both keys always get their TTLs together
  if due_ms == '' then
    write('ZREM', deadlines_key, session_id)
  else
    if due_ms - now_ms < WAKE_UP_WITHIN_MS then
      local first = write('ZRANGE', deadlines_key, 0, 0, 'WITHSCORES')
      is_earliest = not first[2] or tonumber(due_ms) < tonumber(first[2])
    end
    write('ZADD', deadlines_key, due_ms, session_id)
  end
  if live_since_ms == '' then
    write('ZREM', live_key, session_id)
  elseif not is_same_status then
    write('ZADD', live_key, live_since_ms, session_id)
  end
end

-- The idempotency records of a session that is not final stay for a week after the last of them, and as long as the
-- session. Only the drain gives the session a TTL.
if command_id ~= '' or had_ttl then
  local wanted_ms, session_ms = RECORDS_MS, 0
  if command_id ~= '' then
    redis.call('HSET', records_key, command_id, record)
    if counts_records and redis.call('HLEN', records_key) > MAX_RECORDS - 10 then
      remove_oldest_records(session_key, records_key, MAX_RECORDS, command_id)
    end
    if not has_versions then session_ms = redis.call('PTTL', session_key) end
  end
  if session_ms > 0 and ({expired = 1, completed = 1, cancelled = 1})[stored[4]] then
    -- This commit may add no entry to the outbox. So the records get the TTL of the session here, at least one hour.
    redis.call('PEXPIRE', records_key, math.max(session_ms, 3600000))
  else
    if due_ms ~= '' then
      if not now_ms then
        local time = redis.call('TIME')
        now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
      end
      wanted_ms = math.max(RECORDS_MS, due_ms + AFTER_DEADLINE_MS - now_ms)
    end
    wanted_ms = math.max(wanted_ms, session_ms)
    local ttl_ms = redis.call('PTTL', records_key)
    if ttl_ms < wanted_ms and (ttl_ms >= 0 or command_id ~= '') then
      redis.call('PEXPIRE', records_key, wanted_ms + RECORDS_SLACK_MS)
    end
  end
end

for at = FIRST, #ARGV, EACH do
  redis.call('PUBLISH', feed_channel, ARGV[at + HEADER] .. ARGV[at + BODY])
end
if is_earliest then redis.call('PUBLISH', wake_up_channel, due_ms) end
for _, key in ipairs(dropped) do
  if key == deadlines_key or key == live_key or key == outbox_participants_key then
    redis.call('SET', deadlines_key .. ':rebuild', '1')
  end
end
return {'ok', unpack(dropped)}
