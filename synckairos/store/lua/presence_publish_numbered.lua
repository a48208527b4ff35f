-- Publish a message to all instances under a number that grows by one. A missing number shows that a message was lost.
--
-- KEYS  1 number of changes
-- ARGV  1 channel  2 message

redis.call('PUBLISH', ARGV[1], string.format('%.0f ', redis.call('INCR', KEYS[1])) .. ARGV[2])
