#include "broker/server/listener.h"

#include <arpa/inet.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "broker/server/log.h"
#include "broker/server/start_error.h"
#include "protocol/async/spawn.h"
#include "protocol/async/task.h"

namespace waybill {
namespace {

using asio::ip::tcp;
using boost::system::error_code;

/// Without descriptors nothing can be accepted until some are closed; asking again sooner than this
/// only burns the processor.
constexpr std::chrono::milliseconds kAcceptPause{100};
/// Connections that wait to be accepted; the kernel caps it at net.core.somaxconn.
constexpr int kBacklog = 1024;

[[noreturn]] void cannot_bind(const ListenAddress& address, int os_errno) {
  std::string advice;
  switch (os_errno) {
    case EADDRINUSE:
      advice =
          "another program listens there, perhaps another broker; stop it or choose another port "
          "(port 0 takes any free one)";
      break;
    case EACCES:
      advice = "ports below 1024 need rights; choose a higher one";
      break;
    case EADDRNOTAVAIL:
      advice = "this machine does not have that address; `ip address` lists those it has";
      break;
    default:
      advice = "check the address";
  }
  throw StartError(ExitCode::kCannotBind, "cannot listen on " + to_string(address) + ": " +
                                              std::strerror(os_errno) + "; " + advice);
}

tcp::endpoint to_endpoint(const ListenAddress& address) {
  return {asio::ip::make_address(address.host), address.port};
}

/// Enabling an option after bind is what makes the first socket exclusive and shareable by us.
void enable(int socket, int option) {
  int on = 1;
  setsockopt(socket, SOL_SOCKET, option, &on, sizeof on);
}

Descriptor bind_socket(const ListenAddress& address, bool share_before_bind) {
  tcp::endpoint endpoint = to_endpoint(address);
  Descriptor socket(::socket(endpoint.protocol().family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket.valid()) cannot_bind(address, errno);
  enable(socket.get(), SO_REUSEADDR);  // a port in TIME_WAIT after a restart is free
  if (share_before_bind) enable(socket.get(), SO_REUSEPORT);
  auto size = static_cast<socklen_t>(endpoint.size());
  if (::bind(socket.get(), endpoint.data(), size) != 0) cannot_bind(address, errno);
  enable(socket.get(), SO_REUSEPORT);
  return socket;
}

sockaddr_storage bound_address(const Descriptor& socket) {
  sockaddr_storage bound{};
  socklen_t size = sizeof bound;
  getsockname(socket.get(), reinterpret_cast<sockaddr*>(&bound), &size);
  return bound;
}

}  // namespace

std::uint16_t bound_port(const Descriptor& socket) {
  sockaddr_storage bound = bound_address(socket);
  if (bound.ss_family == AF_INET6) {
    return ntohs(reinterpret_cast<const sockaddr_in6&>(bound).sin6_port);
  }
  return ntohs(reinterpret_cast<const sockaddr_in&>(bound).sin_port);
}

std::vector<Descriptor> bind_shared(const ListenAddress& address, std::size_t count) {
  std::vector<Descriptor> sockets;
  sockets.push_back(bind_socket(address, false));
  ListenAddress shared = address;
  shared.port = bound_port(sockets.front());
  while (sockets.size() < count) sockets.push_back(bind_socket(shared, true));
  return sockets;
}

Listener::Listener(asio::io_context& context, Descriptor socket, ConnectionHost host,
                   std::size_t max_connections)
    : context_(context),
      acceptor_(context),
      host_(std::move(host)),
      max_connections_(max_connections),
      gate_(context.get_executor()) {
  bool v6 = bound_address(socket).ss_family == AF_INET6;
  acceptor_.assign(v6 ? tcp::v6() : tcp::v4(), socket.release());
}

void Listener::start() {
  error_code failure;
  acceptor_.listen(kBacklog, failure);
  if (failure) {
    throw StartError(ExitCode::kCannotBind, "cannot listen: " + failure.message() +
                                                "; another program may have taken the port");
  }
  spawn(context_.get_executor(), "accept", &Listener::accept_loop, this);
}

Task<void> Listener::accept_loop(Listener* self) {
  Result<Gate::Pass> pass = self->gate_.enter();
  if (!pass) co_return;
  while (!self->gate_.closed()) {
    auto [failure, socket] = co_await self->acceptor_.async_accept(kNoThrow);
    if (self->gate_.closed()) break;
    if (failure) {
      co_await self->after_accept_error(failure);
      continue;
    }
    self->troubled_ = false;
    self->admit(std::move(socket));
  }
}

Task<void> Listener::after_accept_error(error_code failure) {
  if (failure == asio::error::connection_aborted) co_return;  // that client gave up
  if (!troubled_) {
    log_error("listener.cannot_accept",
              {{"error", failure.message()},
               {"next",
                "raise the limit of open files (ulimit -n, LimitNOFILE=) if it is too low; "
                "trying again until it works"}});
  }
  troubled_ = true;
  asio::steady_timer pause(context_, kAcceptPause);
  co_await pause.async_wait(kNoThrow);
}

void Listener::admit(tcp::socket socket) {
  std::uint64_t open = host_.counters.connections.load(std::memory_order_relaxed);
  if (open >= max_connections_) {
    refuse(std::move(socket));
    return;
  }
  Result<Gate::Pass> pass = gate_.enter();
  if (!pass) return;
  Counters::add(host_.counters.connections_accepted);
  auto connection = std::make_shared<Connection>(std::move(socket), host_);
  connections_.insert(connection.get());
  spawn(context_.get_executor(), "connection", &Listener::serve, this, std::move(connection),
        std::move(*pass));
}

void Listener::refuse(tcp::socket socket) {
  Counters::add(host_.counters.connections_refused);
  log_debug("listener.refused", {{"connections", max_connections_}});
  OutFrame frame =
      encode_error(0, RequestKind::kNone,
                   {Errc::kTooManyRequests, "the broker has as many connections as it takes (" +
                                                std::to_string(max_connections_) +
                                                "); close some, or try again later"});
  error_code ignored;
  socket.non_blocking(true, ignored);
  socket.write_some(asio::buffer(frame.head), ignored);
}

Task<void> Listener::serve(Listener* self, std::shared_ptr<Connection> connection,
                           Gate::Pass /*pass*/) {
  auto conversation = Connection::run(connection);
  co_await std::move(conversation);
  self->connections_.erase(connection.get());
}

void Listener::stop(std::function<void()> done) {
  spawn(context_.get_executor(), "shut down", &Listener::shut_down, this, std::move(done));
}

Task<void> Listener::shut_down(Listener* self, std::function<void()> done) {
  error_code ignored;
  self->acceptor_.close(ignored);
  for (Connection* connection : self->connections_) connection->drain();
  asio::steady_timer limit(self->context_, self->host_.drain_timeout);
  limit.async_wait([self](const error_code& cancelled) {
    if (cancelled) return;
    log_warning("listener.drain_timeout", {{"connections", self->connections_.size()}});
    for (Connection* connection : self->connections_) connection->abort();
  });
  auto emptied = self->gate_.close();
  co_await std::move(emptied);
  limit.cancel();
  done();
}

}  // namespace waybill
