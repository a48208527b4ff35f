-- After Postgres has a batch: take its entries out of the outbox, and let go of sessions it holds in full.
-- Only here does a session get a TTL, and never one that ends before an hour after its next deadline.
--
-- KEYS  1 outbox  2 tally  3 how many bytes wait  4… three for each session: session, history, commands
-- ARGV  1 ttl ms  2 grace ms  3 rows new to Postgres  4 conflicts  5 how long it took, µs  6 how many entries
--       7 bytes that they hold  8… their ids, then two for each session: epoch, newest version in Postgres
-- Returns how many entries were still there.

local FINAL = {expired = true, completed = true, cancelled = true}

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local count = tonumber(ARGV[6])

local at = 8 + count
for key = 4, #KEYS, 3 do
  local epoch, version = ARGV[at], ARGV[at + 1]
  at = at + 2
  local found = redis.call('HMGET', KEYS[key], 'epoch', 'version', 'due', 'audited', 'status')
  -- Another epoch is another life of this session: what Postgres has says nothing about it.
  if found[1] == epoch then
    if not found[4] or tonumber(found[4]) < tonumber(version) then
      redis.call('HSET', KEYS[key], 'audited', version)
    end
    local due = found[3] and found[3] ~= '' and tonumber(found[3])
    -- A clock that runs with nothing due, in overtime or counting up without end, stays where it can be read.
    if found[2] == version and (due or found[5] ~= 'running') then
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
