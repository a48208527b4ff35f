-- After Postgres has a batch: take its entries out of the outbox, and let go of sessions it holds in full.
-- Only here does a session get a TTL, and never one that ends before an hour after its next deadline.
--
-- KEYS  1 outbox  2 tally  3 how many bytes wait  4 gaps  5… three for each session: session, history, commands
-- ARGV  1 ttl ms  2 grace ms  3 rows new to Postgres  4 conflicts  5 how long it took, µs  6 how many entries
--       7 bytes that they hold  8… their ids, then two for each session: epoch, newest version in Postgres
-- Returns how many entries were still there.

local FINAL = {expired = true, completed = true, cancelled = true}

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local count = tonumber(ARGV[6])
local has_gaps = redis.call('EXISTS', KEYS[4]) == 1

-- Whether isolated entries leave gaps in a session, and before which version of this epoch the first one is.
local function gaps(session, epoch)
  if not has_gaps then return false end
  local id = string.match(session, '[^:]+$')
  local found, first = redis.call('ZRANGE', KEYS[4], '[' .. id .. ' ', '(' .. id .. '!', 'BYLEX'), nil
  for _, gap in ipairs(found) do
    local of, version = string.match(gap, ' (%S+) (%d+)$')
    if of == epoch then first = math.min(first or tonumber(version), tonumber(version)) end
  end
  return #found > 0, first
end

local at = 8 + count
for key = 5, #KEYS, 3 do
  local epoch, newest = ARGV[at], tonumber(ARGV[at + 1])
  at = at + 2
  local found = redis.call('HMGET', KEYS[key], 'epoch', 'version', 'due', 'audited', 'status', 'beyond')
  -- Another epoch is another life of this session: what Postgres has says nothing about it.
  if found[1] == epoch then
    -- Beyond a gap Postgres may have more than what is audited without one: remembered until the gap is closed.
    local version, of = string.match(found[6] or '', '^(%d+) (.*)$')
    if of == epoch then newest = math.max(newest, tonumber(version)) end
    local is_gapped, first = gaps(KEYS[key], epoch)
    if is_gapped then
      redis.call('HSET', KEYS[key], 'beyond', string.format('%.0f %s', newest, epoch))
    elseif found[6] then
      redis.call('HDEL', KEYS[key], 'beyond')
    end
    local audited = first and math.min(newest, first - 1) or newest
    if audited > tonumber(found[4] or 0) then
      redis.call('HSET', KEYS[key], 'audited', string.format('%.0f', audited))
    end
    local due = found[3] and found[3] ~= '' and tonumber(found[3])
    -- A clock that runs with nothing due, in overtime or counting up without end, stays where it can be read. So does
    -- whatever Postgres has not in full.
    if not is_gapped and tonumber(found[2]) == newest and (due or found[5] ~= 'running') then
      local ttl = tonumber(ARGV[1])
      if due then ttl = math.max(ttl, due + tonumber(ARGV[2]) - now) end
      redis.call('PEXPIRE', KEYS[key], string.format('%.0f', ttl))
      redis.call('PEXPIRE', KEYS[key + 1], string.format('%.0f', ttl))
      if FINAL[found[5]] then
        -- What was decided for command ids is remembered for as long as the session lives, wherever it is kept.
        redis.call('PEXPIRE', KEYS[key + 2], string.format('%.0f', ttl))
      end
    end
  end
end

if count == 0 then return 0 end
local gone = 0
for first = 8, 7 + count, 1000 do
  gone = gone + redis.call('XDEL', KEYS[1], unpack(ARGV, first, math.min(first + 999, 7 + count)))
end
if redis.call('XLEN', KEYS[1]) == 0 then
  redis.call('DEL', KEYS[3])
elseif gone > 0 then
  -- All of them, but where another drain was here before; until the outbox is empty next, their part of it is as good.
  redis.call('DECRBY', KEYS[3], string.format('%.0f', ARGV[7] * gone / count))
end
redis.call('HINCRBY', KEYS[2], 'drained', ARGV[3])
redis.call('HINCRBY', KEYS[2], 'conflicts', ARGV[4])
redis.call('HINCRBY', KEYS[2], 'busy_us', ARGV[5])
redis.call('HINCRBY', KEYS[2], 'batches', 1)
return gone
