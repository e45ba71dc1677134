// What a running command has: the console, and one connection to the broker, made when it is first
// needed. Turns the broker's errors into complaints with a next step, and into exit codes.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "client/blocking_client.h"
#include "tools/console.h"
#include "tools/credentials.h"
#include "tools/exit_code.h"

namespace waybill::cli {

class BrokerSession {
 public:
  BrokerSession(Console& console, std::string endpoint, Credentials credentials = {});
  BrokerSession(const BrokerSession&) = delete;
  BrokerSession& operator=(const BrokerSession&) = delete;
  ~BrokerSession();

  [[nodiscard]] Console& console() { return console_; }
  [[nodiscard]] const std::string& endpoint() const { return endpoint_; }
  /// How any client of this command reaches the broker.
  [[nodiscard]] ClientOptions client_options() const;
  /// Connects when it is first needed.
  BlockingClient& client();
  /// For a command that itself repeats what was not answered. Call it before client().
  void set_request_timeout(std::chrono::milliseconds timeout) { request_timeout_ = timeout; }
  /// Of what the command publishes. Call it before client().
  void set_compression(Codec codec) { compression_ = codec; }

  template <class Request>
  auto request(Request request) {
    return client().request(std::move(request));
  }

  /// Complains about an error and says what to do next. `name` is what was asked for, if the error
  /// can be about a name: the nearest existing one is suggested.
  ExitCode report(const RequestError& error, std::string_view name = {});
  /// Complains about something a person typed.
  ExitCode usage(std::string_view what, std::string_view next = {});

  /// "alice@host": who does something to a dead letter, for its history.
  static std::string who();

 private:
  std::string next_step(const RequestError& error, std::string_view name);

  Console& console_;
  std::string endpoint_;
  Credentials credentials_;
  std::optional<std::chrono::milliseconds> request_timeout_;
  Codec compression_ = Codec::kNone;
  std::unique_ptr<BlockingClient> client_;
};

}  // namespace waybill::cli
