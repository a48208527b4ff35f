-- Take tokens from a bucket that fills at a constant rate, or give tokens back.
--
-- The arithmetic is the same as in limits/token_bucket.py. The only stored value is the instant at which the bucket is
-- full again, in µs by TIME. The key expires at that instant. A key of another type or with other text counts as a full
-- bucket.
--
-- KEYS  1 bucket   ARGV  1 µs for one token  2 size in tokens  3 number of tokens to take, negative to give tokens back
-- Returns {1 if the tokens were taken, else 0; whole tokens left; µs until one token is there; µs until it is full}

local interval, size, tokens = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local room = size * interval

local debt = (tonumber(redis.pcall('GET', KEYS[1])) or 0) - now
if not (debt > 0) then debt = 0 end
-- If the clock was set back, the bucket must not stay empty for longer than it takes to fill it. So the nearer instant
-- is also stored after a refusal.
local must_store = debt > room
if must_store then debt = room end
local after = debt + tokens * interval
local taken = after <= room and 1 or 0
if taken == 1 then
  debt = after > 0 and after or 0
  must_store = true
end
if must_store and debt > 0 then
  redis.call('SET', KEYS[1], string.format('%.0f', math.floor(now + debt)), 'PX', math.ceil(debt / 1000))
elseif must_store then
  redis.call('DEL', KEYS[1])
end
local wait = debt + interval - room
return {taken, math.floor(size - debt / interval), wait > 0 and math.ceil(wait) or 0, math.ceil(debt)}
