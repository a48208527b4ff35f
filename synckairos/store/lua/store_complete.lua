-- Mark a copy of a store as complete. A store without recorded hash tags has the format that earlier releases read.
--
-- KEYS  1 hash of the fixed settings   ARGV  1 token of the copy

if redis.call('HGET', KEYS[1], 'copying') == ARGV[1] then
  if not redis.call('HGET', KEYS[1], 'tags') then redis.call('HSET', KEYS[1], 'format', '1') end
  redis.call('HDEL', KEYS[1], 'copying')
end
