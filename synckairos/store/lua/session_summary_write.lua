-- Write or remove the summary of a session, if no other call has changed it in the meantime. The ready rows that were
-- rendered from the old summary are removed with it.
--
-- KEYS  1 summary
-- ARGV  1 mode: `keep` replaces the summary with the position ARGV[2] ('' for none), even if it is being filled
--               `fill` ends the lease ARGV[2], or adds a part to a summary with the same position
--               `drop` removes the summary and a lease on it
--       2 see 1  3 TTL in ms  4 session id  5 the part of the key of ready rows before the participant id
--       6 position  7 facts  8 metadata  9 row template; 6 to 9 are absent to remove the summary
--       10… two for each participant's part: field, value
-- Returns 1, or 0 if the summary was changed in the meantime.

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
