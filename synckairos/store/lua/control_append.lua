-- Add entries to the control channel, each under the next number, and publish them. An entry that the set already has
-- is not added again. If the store lost its data, a new generation begins.
--
-- uses write_replacing_invalid
--
-- KEYS  1 position (hash)  2 entries (sorted set: JSON by number; same hash tag)
--       3 fence: while it exists, the store is being moved, and nothing is added
-- ARGV  1 channel  2 a new random text  3 maximum number of entries  4 '1' if the set is complete after this call
--       5… entries
-- Returns {-1} at a fence, or {1, or 0 if the set is full and nothing was added; dropped key; …}

if redis.call('EXISTS', KEYS[3]) == 1 then return {-1} end
local generation = write('HGET', KEYS[1], 'generation')
local count = write('ZCARD', KEYS[2])
if #dropped > 0 or not generation then
  -- The other key is useless without the dropped one. All instances then add their entries again.
  redis.call('DEL', KEYS[1], KEYS[2])
  generation, count = ARGV[2], 0
  redis.call('HSET', KEYS[1], 'generation', generation, 'number', '0', 'tag', '')
end
if count + #ARGV - 4 > tonumber(ARGV[3]) then
  return {0, unpack(dropped)}
end
for at = 5, #ARGV do
  if not redis.call('ZSCORE', KEYS[2], ARGV[at]) then
    local before = redis.call('HGET', KEYS[1], 'tag') or ''
    local number = redis.call('HINCRBY', KEYS[1], 'number', 1)
    local tag = ARGV[2] .. '-' .. at
    redis.call('HSET', KEYS[1], 'tag', tag)
    redis.call('ZADD', KEYS[2], number, ARGV[at])
    redis.call('PUBLISH', ARGV[1], table.concat({generation, string.format('%.0f', number), tag, before, ARGV[at]}, ' '))
  end
end
if ARGV[4] == '1' then
  redis.call('HSET', KEYS[1], 'complete', '1')
end
return {1, unpack(dropped)}
