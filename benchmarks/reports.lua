-- wrk: one report a request, over 100 users and 10 servers.
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
local n = 0
request = function()
  n = n + 1
  return wrk.format(nil, nil, nil, string.format(
    '{"user_token":"user%d","server":"vpn%d.example.com","port":443,"protocol":"vless","bytes_uploaded":1000,"bytes_downloaded":2000}',
    n % 100, n % 10))
end
