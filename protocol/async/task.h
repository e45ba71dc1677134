// Task<T>: a coroutine that starts when it is awaited, or spawned through spawn.h. The network
// shell (broker/server, client) is written in tasks; nothing below it knows them.
#pragma once

#include <boost/asio/awaitable.hpp>

namespace waybill {

namespace asio = boost::asio;

template <class T = void>
using Task = asio::awaitable<T>;

}  // namespace waybill
