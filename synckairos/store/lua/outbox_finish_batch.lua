-- After Postgres has a batch: settle the sessions of the batch, then remove its entries from the outbox.
-- Only this script gives a session a TTL. The session stays at least one hour after its next deadline.
-- Invalid data in a session's hash leaves that session as it is: Postgres has its versions.
--
-- uses write_replacing_invalid
-- uses participants_of_document
--
-- KEYS  1 outbox  2 tally  3 bytes in the outbox  4 gaps  5 indexed entries  6 participants
--       7 bytes by tenant  8… three for each session: session, version history, idempotency records
-- ARGV  1 TTL in ms  2 ms that a session stays after its deadline  3 number of rows new to Postgres
--       4 number of conflicts  5 duration in µs  6 number of entries  7 bytes in the entries
--       8 number of tenants, except the default tenant, that have entries  9… two for each of these tenants: name, bytes
--       then the ids of the entries, then two for each session: epoch, newest version in Postgres
-- Returns {number of entries that this call removed, dropped key, …}

local IDLE_MS = 604800000 -- a week
local FINAL = {expired = true, completed = true, cancelled = true}

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local count = tonumber(ARGV[6])
local has_gaps = redis.call('EXISTS', KEYS[4]) == 1

local function session_name_of(key) return string.match(key, '[^:]+$') end

-- Return whether failed entries leave gaps in a session, and the version of the first gap in this epoch.
local function find_gaps(session, epoch)
  if not has_gaps then return false end
  local id = session_name_of(session)
  local found, first = write('ZRANGE', KEYS[4], '[' .. id .. ' ', '(' .. id .. '!', 'BYLEX'), nil
  for _, gap in ipairs(found) do
    local gap_epoch, version = string.match(gap, ' (%S+) (%d+)$')
    if gap_epoch == epoch then first = math.min(first or tonumber(version), tonumber(version)) end
  end
  return #found > 0, first
end

local tenants = tonumber(ARGV[8])
local first_id = 9 + 2 * tenants
local last_id = first_id + count - 1
local at = last_id + 1
for key = 8, #KEYS, 3 do
  local epoch, newest = ARGV[at], tonumber(ARGV[at + 1])
  at = at + 2
  local found = redis.pcall('HMGET', KEYS[key], 'epoch', 'version', 'due', 'audited', 'status', 'beyond', 'indexed')
  -- If Redis has another epoch, the session was created again or recovered. Then the versions of the batch do not
  -- belong to the stored session.
  if found[1] == epoch then
    -- Postgres can have versions after a gap. The newest of these versions is stored until the gap is closed.
    local beyond, beyond_epoch = string.match(found[6] or '', '^(%d+) (.*)$')
    if beyond_epoch == epoch then newest = math.max(newest, tonumber(beyond)) end
    local is_gapped, first_gap = find_gaps(KEYS[key], epoch)
    if is_gapped then
      redis.call('HSET', KEYS[key], 'beyond', string.format('%.0f %s', newest, epoch))
    elseif found[6] then
      redis.call('HDEL', KEYS[key], 'beyond')
    end
    local audited = first_gap and math.min(newest, first_gap - 1) or newest
    if audited > (tonumber(found[4]) or 0) then
      redis.call('HSET', KEYS[key], 'audited', string.format('%.0f', audited))
    end
    local due = found[3] and found[3] ~= '' and tonumber(found[3])
    -- A running session without a deadline (in overtime, or counting up without a maximum) stays for a week after its
    -- last change. A session with a gap stays without an end.
    if not is_gapped and tonumber(found[2]) == newest then
      local ttl = tonumber(ARGV[1])
      if not due and found[5] == 'running' then ttl = math.max(ttl, IDLE_MS) end
      if due then ttl = math.max(ttl, due + tonumber(ARGV[2]) - now) end
      redis.call('PEXPIRE', KEYS[key], string.format('%.0f', ttl))
      redis.call('PEXPIRE', KEYS[key + 1], string.format('%.0f', ttl))
      if found[7] and found[5] ~= 'running' then
        -- Postgres has the newest version of this session. The next commit adds its participants to the index again.
        local document = redis.call('HGET', KEYS[key], 'state') or ''
        for _, members in slices_of_participants(document, session_name_of(KEYS[key])) do
          for position = 2, #members, 2 do members[position / 2] = members[position] end
          write('ZREM', KEYS[6], unpack(members, 1, #members / 2))
        end
        redis.call('HDEL', KEYS[key], 'indexed')
      end
      -- Idempotency records stay as long as the session. Those of a session that is not final can stay longer.
      if FINAL[found[5]] then
        redis.call('PEXPIRE', KEYS[key + 2], string.format('%.0f', ttl))
      else
        redis.call('PEXPIRE', KEYS[key + 2], string.format('%.0f', ttl), 'GT')
      end
    end
  end
end

if count == 0 then return {0, unpack(dropped)} end
local removed = 0
for first = first_id, last_id, 1000 do
  local until_last = math.min(first + 999, last_id)
  removed = removed + write('XDEL', KEYS[1], unpack(ARGV, first, until_last))
  write('ZREM', KEYS[5], unpack(ARGV, first, until_last))
end
if write('XLEN', KEYS[1]) == 0 then
  redis.call('DEL', KEYS[3], KEYS[5], KEYS[7])
elseif removed > 0 then
  -- If another drain has removed some of the entries before, their share of the bytes is an estimate. The estimate is
  -- corrected when the outbox is empty.
  write('DECRBY', KEYS[3], string.format('%.0f', ARGV[7] * removed / count))
  -- A count never falls below 0, because an earlier release writes entries without counting them.
  for position = 9, first_id - 1, 2 do
    local share = string.format('%.0f', -ARGV[position + 1] * removed / count)
    if write('HINCRBY', KEYS[7], ARGV[position], share) <= 0 then redis.call('HDEL', KEYS[7], ARGV[position]) end
  end
end
write('HINCRBY', KEYS[2], 'drained', ARGV[3])
write('HINCRBY', KEYS[2], 'conflicts', ARGV[4])
write('HINCRBY', KEYS[2], 'busy_us', ARGV[5])
write('HINCRBY', KEYS[2], 'batches', 1)
return {removed, unpack(dropped)}
