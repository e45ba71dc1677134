// Task<T>: a coroutine that starts when it is awaited, or spawned through spawn.h. The network
// shell (broker/server, client) is written in tasks; nothing below it knows them.
#pragma once

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace waybill {

namespace asio = boost::asio;

template <class T = void>
using Task = asio::awaitable<T>;

/// `auto [error, result] = co_await async_…(kNoThrow)`: errors of the network are values here.
inline constexpr auto kNoThrow = asio::as_tuple(asio::use_awaitable);

}  // namespace waybill
