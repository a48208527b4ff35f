-- Keep a session's digest, if nothing came in between. With one that goes, go the rows that were made of it.
--
-- KEYS  1 digest
-- ARGV  1 how: `keep` takes the place of the digest of ARGV[2] ('' for none), whoever else is filling it;
--         `fill` ends the lease ARGV[2], or adds a part to a digest of the same version
--         `drop` drops whatever is there, a lease as well
--       2 see 1   3 ttl ms   4 session id  5 what the ready rows of the digest's partition begin with, up to whose
--       6 of  7 facts  8 metadata  9 what stands still, all four left out to drop the digest
--       10… two for each part: field, value
-- Returns 1, or 0 where something came in between.

local found = redis.call('HMGET', KEYS[1], 'of', 'lease')
if ARGV[1] == 'fill' and found[1] and found[1] == ARGV[6] then
  redis.call('HSET', KEYS[1], ARGV[10], ARGV[11])
  return 1
end
if ARGV[1] == 'fill' then
  if found[1] or found[2] ~= ARGV[2] then return 0 end
elseif ARGV[1] == 'keep' and (found[1] or '') ~= ARGV[2] then
  return 0
end
for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
  if string.sub(field, 1, 2) == 'p:' then redis.call('HDEL', ARGV[5] .. string.sub(field, 3), ARGV[4]) end
end
redis.call('DEL', KEYS[1])
if #ARGV < 9 then return 1 end
redis.call('HSET', KEYS[1], 'of', ARGV[6], 'facts', ARGV[7], 'metadata', ARGV[8], 'still', ARGV[9],
  unpack(ARGV, 10))
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
