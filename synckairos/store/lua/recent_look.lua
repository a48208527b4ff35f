-- Look at somebody's recent sessions: a page of their set, and whatever lists tell of these and of other sessions.
--
-- KEYS  1 set, or any of the others  2… two for each session asked for: digest, session
-- ARGV  1 participant id  2 how many of the set (0: none, and nothing of ARGV 3 to 10)  3 the newest score of interest
--       of the set's partition, so that all these KEYS are of it alone:
--       4 what the digests, and 5 what the sessions begin with, 6 somebody's ready rows, 7 the outbox, 8 what is isolated
--       9 ms that ready rows stay  10 ms that a digest stays  11 how many rows there may be  12 how long one may be
-- Returns {time, since when the set is whole (nil: nobody knows), ms that the set stays, `id score …`, rows, others}; of
-- rows each has a line, as it will be told. It is empty where a clock or a break goes on, or Redis has another version
-- live: for each of these others there is {of, facts, metadata, part, epoch, version, deleted, due, state, audited}, with
-- the state where a clock runs or the version is another. (One text is read and written in far less time than a list.)
--
-- A ready row is made of a digest with somebody's part in it, and goes with it (`recent_keep`); it is true for as long
-- as nothing of its session is on its way to Postgres.

local ENTRIES = 16 -- on their way that are looked at; with more each session is

local participant = 'p:' .. ARGV[1]

local others = {}

-- Return the row of a session as it will be told; else have it among the others, and return ''.
local function look(digest_key, session_key)
  local digest = redis.call('HMGET', digest_key, 'of', 'still', participant)
  local live = redis.call('HMGET', session_key, 'epoch', 'version')
  local of = live[1] and live[1] .. ' ' .. live[2]
  if digest[2] and digest[2] ~= '' and digest[3] and (not of or of == digest[1]) then
    local head, middle, tail = string.match(digest[2], '^([^\n]*)\n([^\n]*)\n(.*)$')
    local used, cycles = string.match(digest[3], '^(%d+) (%d+)$')
    return head .. used .. middle .. cycles .. tail
  end
  local told = redis.call('HMGET', digest_key, 'facts', 'metadata')
  local more = redis.call('HMGET', session_key, 'deleted', 'due', 'audited', 'status')
  local state = ''
  if of and (more[4] == 'running' or of ~= digest[1]) then state = redis.call('HGET', session_key, 'state') end
  others[#others + 1] = {
    digest[1], told[1], told[2], digest[3], live[1], live[2], more[1], more[2], state, more[3]
  }
  return ''
end

-- Return the sessions with versions on their way as a set, or nothing where there are too many to say.
local function on_their_way()
  local waiting = redis.call('XLEN', ARGV[7])
  if waiting > ENTRIES or redis.call('EXISTS', ARGV[8]) == 1 then return nil end
  local ids = {}
  if waiting > 0 then
    for _, entry in ipairs(redis.call('XRANGE', ARGV[7], '-', '+')) do
      for at = 1, #entry[2], 2 do
        if entry[2][at] == 'session_id' then ids[entry[2][at + 1]] = true end
      end
    end
  end
  return ids
end

local page, whole, left, rows = {}, false, 0, {}
if ARGV[2] ~= '0' then
  whole = redis.call('ZSCORE', KEYS[1], '!whole')
  if whole then
    left = redis.call('PTTL', KEYS[1])
    page = redis.call('ZREVRANGEBYSCORE', KEYS[1], ARGV[3], 0, 'WITHSCORES', 'LIMIT', 0, ARGV[2])
  end
end
if #page > 0 then
  local ids = {}
  for at = 1, #page, 2 do ids[#ids + 1] = page[at] end
  local waiting = on_their_way()
  local ready = waiting and redis.call('HMGET', ARGV[6], unpack(ids)) or {}
  local made = {}
  for at, id in ipairs(ids) do
    local row = ready[at]
    if row and not waiting[id] then
      rows[at] = row
    else
      rows[at] = look(ARGV[4] .. id, ARGV[5] .. id)
      if rows[at] ~= '' and #rows[at] <= tonumber(ARGV[12]) then
        made[#made + 1] = id
        made[#made + 1] = rows[at]
      end
    end
  end
  if waiting and #made > 0 then
    -- By pcall: a full Redis, or one that can't write, still answers. The digests first: a row never outlives its own.
    local kept = true
    for at = 1, #made, 2 do
      local done = redis.pcall('PEXPIRE', ARGV[4] .. made[at], ARGV[10])
      kept = kept and done == 1
    end
    if kept then
      if redis.call('HLEN', ARGV[6]) + #made / 2 > tonumber(ARGV[11]) then redis.pcall('DEL', ARGV[6]) end
      redis.pcall('HSET', ARGV[6], unpack(made))
      if redis.call('PTTL', ARGV[6]) == -1 then redis.pcall('PEXPIRE', ARGV[6], ARGV[9]) end
    end
  end
end
for at = 2, #KEYS, 2 do rows[#rows + 1] = look(KEYS[at], KEYS[at + 1]) end
return {redis.call('TIME'), whole, left, table.concat(page, ' '), table.concat(rows, '\n'), others}
