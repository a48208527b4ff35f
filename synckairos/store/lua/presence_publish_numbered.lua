-- Publish a message to all instances under a number that grows by 1. So a missing number shows a lost message.
--
-- uses write_replacing_invalid
--
-- KEYS  1 number of changes
-- ARGV  1 channel  2 message
-- Returns {dropped key, …}

redis.call('PUBLISH', ARGV[1], string.format('%.0f ', write('INCR', KEYS[1])) .. ARGV[2])
return dropped
