-- Record that the store has moved, if the lease and all fences of the copy still exist. The fences then stay for ever.
--
-- KEYS  1 hash of the fixed settings  2 lease  3… fences   ARGV  1 token of the copy  2 record of the move
-- Returns 1 if the store has moved. 0: a fence has ended, so changes were possible after it, or another copy runs

for at = 2, #KEYS do
  if redis.call('GET', KEYS[at]) ~= ARGV[1] then return 0 end
end
for at = 3, #KEYS do redis.call('SET', KEYS[at], ARGV[1]) end
redis.call('HSET', KEYS[1], 'moved', ARGV[2])
return 1
