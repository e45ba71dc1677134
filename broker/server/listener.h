// Listener: accepts the connections of one thread and keeps them until they end. Every thread has
// its own, on the same port (SO_REUSEPORT), so the kernel spreads the clients.
//
// SO_REUSEPORT has a trap: a second broker of the same user could listen on the same port without
// an error and would get half of the clients. Therefore the first socket is bound without the
// option, which fails if anybody has the port, and gets it afterwards (bind_shared).
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <functional>
#include <memory>
#include <unordered_set>
#include <vector>

#include "broker/server/config.h"
#include "broker/server/connection.h"
#include "protocol/async/gate.h"
#include "storage/io/posix_disk.h"

namespace waybill {

/// Binds `count` sockets to one address, one for each thread. They do not listen yet: until the
/// broker is ready, clients are refused at once instead of waiting. Throws StartError(kCannotBind).
std::vector<Descriptor> bind_shared(const ListenAddress& address, std::size_t count);
/// The port a bound socket has.
std::uint16_t bound_port(const Descriptor& socket);

class Listener {
 public:
  /// Takes over the bound socket. Used on the thread of `context` only, and destroyed there, when
  /// stop() has completed. `host` outlives it.
  Listener(asio::io_context& context, Descriptor socket, ConnectionHost host,
           std::size_t max_connections);

  /// Begins to listen and to accept. Throws StartError.
  void start();

  /// Stops accepting, lets every connection finish what it began (at most the host's
  /// drain_timeout), then calls `done`.
  void stop(std::function<void()> done);

 private:
  static Task<void> accept_loop(Listener* self);
  static Task<void> serve(Listener* self, std::shared_ptr<Connection> connection, Gate::Pass pass);
  static Task<void> shut_down(Listener* self, std::function<void()> done);
  Task<void> after_accept_error(boost::system::error_code failure);
  void admit(asio::ip::tcp::socket socket);
  void refuse(asio::ip::tcp::socket socket);

  asio::io_context& context_;
  asio::ip::tcp::acceptor acceptor_;
  ConnectionHost host_;
  std::size_t max_connections_;
  std::unordered_set<Connection*> connections_;
  Gate gate_;
  bool troubled_ = false;  ///< the last accept failed, and that was logged
};

}  // namespace waybill
