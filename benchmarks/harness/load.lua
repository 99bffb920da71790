-- wrk's script: sends the bodies of a file in turn, and ends with one line of JSON.
-- Arguments: path, file, and for binary tensors the bytes of each body's head and of each body.
local requests, turn = {}, 0

local function json_bodies(path, file)
  wrk.headers["Content-Type"] = "application/json"
  for body in io.lines(file) do
    requests[#requests + 1] = wrk.format(nil, path, nil, body)
  end
end

local function binary_bodies(path, file, head_bytes, body_bytes)
  wrk.headers["Content-Type"] = "application/octet-stream"
  wrk.headers["Inference-Header-Content-Length"] = head_bytes
  local content = assert(io.open(file, "rb"))
  local body = content:read(body_bytes)
  while body do
    requests[#requests + 1] = wrk.format(nil, path, nil, body)
    body = content:read(body_bytes)
  end
end

function init(args)
  wrk.method = "POST"
  if args[3] then
    binary_bodies(args[1], args[2], args[3], tonumber(args[4]))
  else
    json_bodies(args[1], args[2])
  end
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end

function done(summary, latency, _)
  local errors = summary.errors
  io.write(string.format(
    '\nRESULT {"requests":%d,"seconds":%.6f,"p50_ms":%.4f,"p99_ms":%.4f,"failed":%d,"lost":%d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
