-- Return the ids of outbox entries, oldest first, without the entries.
--
-- KEYS  1 outbox   ARGV  1 first id  2 maximum number of ids

local ids = {}
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], ARGV[1], '+', 'COUNT', ARGV[2])) do ids[#ids + 1] = entry[1] end
return ids
