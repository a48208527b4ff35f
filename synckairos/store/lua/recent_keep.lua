-- Keep a session's digest, if nothing came in between.
--
-- KEYS  1 digest
-- ARGV  1 how: `keep` takes the place of the digest of ARGV[2] ('' for none), whoever else is filling it;
--         `fill` ends the lease ARGV[2], or adds a part to a digest of the same version
--       2 see 1   3 ttl ms   4 of  5 facts  6 metadata  7 what stands still, all four left out to drop the digest
--       8… two for each part: field, value
-- Returns 1, or 0 where something came in between.

local found = redis.call('HMGET', KEYS[1], 'of', 'lease')
if ARGV[1] == 'fill' and found[1] and found[1] == ARGV[4] then
  redis.call('HSET', KEYS[1], ARGV[8], ARGV[9])
  return 1
end
if ARGV[1] == 'fill' then
  if found[1] or found[2] ~= ARGV[2] then return 0 end
elseif (found[1] or '') ~= ARGV[2] then
  return 0
end
redis.call('DEL', KEYS[1])
if #ARGV < 6 then return 1 end
redis.call('HSET', KEYS[1], 'of', ARGV[4], 'facts', ARGV[5], 'metadata', ARGV[6], 'still', ARGV[7],
  unpack(ARGV, 8))
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
