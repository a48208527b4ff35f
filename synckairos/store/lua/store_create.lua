-- Write the fixed settings of a store, unless the store has some already. An instance of an earlier release writes the
-- format and the number of partitions one after another, so the format alone can be there.
--
-- KEYS  1 hash of the fixed settings
-- ARGV  1 number of partitions  2 number of the format  3 hash tags of the partitions, '' for none

if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('HSET', KEYS[1], 'partitions', ARGV[1], 'format', ARGV[2])
  if ARGV[3] ~= '' then redis.call('HSET', KEYS[1], 'tags', ARGV[3]) end
else
  redis.call('HSETNX', KEYS[1], 'partitions', ARGV[1])
end
