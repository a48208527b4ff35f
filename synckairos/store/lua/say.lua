-- Tell all instances something, under a number that grows by one: who finds one missing knows that a message was lost.
--
-- KEYS  1 count of changes
-- ARGV  1 channel  2 what to tell

redis.call('PUBLISH', ARGV[1], string.format('%.0f ', redis.call('INCR', KEYS[1])) .. ARGV[2])
