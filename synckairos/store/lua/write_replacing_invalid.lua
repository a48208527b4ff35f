-- A library: `write` executes a command on a key with derived data. If the key has data that the command cannot use,
-- the key is removed first, and its name is added to `dropped`. So invalid data never interrupts a script between two
-- writes. Redis would not undo the first write.

local dropped = {}
local INVALID = {'WRONGTYPE', 'not an integer', 'would overflow', 'exhausted the last'}

local function write(command, key, ...)
  local reply = redis.pcall(command, key, ...)
  if type(reply) ~= 'table' or not reply.err then return reply end
  for _, words in ipairs(INVALID) do
    if string.find(reply.err, words, 1, true) then
      redis.call('DEL', key)
      dropped[#dropped + 1] = key
      break
    end
  end
  return redis.call(command, key, ...)
end
