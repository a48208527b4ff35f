-- Take the lease on filling a set or a digest that isn't here: what is asked of Postgres after this may be kept, unless
-- something newer was moved there meanwhile, which breaks the lease.
--
-- KEYS  1 set or digest   ARGV  1 which: set or digest  2 token  3 ms that the lease lasts
-- Returns 1, or 0 where it is here or somebody else has the lease.

if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
if ARGV[1] == 'set' then
  redis.call('ZADD', KEYS[1], '-' .. ARGV[2], '!filling')
else
  redis.call('HSET', KEYS[1], 'lease', ARGV[2])
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
