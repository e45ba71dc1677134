#include "tools/broker_session.h"

#include <fmt/format.h>
#include <pwd.h>
#include <unistd.h>

#include "protocol/model/catalog.h"
#include "tools/escape.h"

namespace waybill::cli {

BrokerSession::BrokerSession(Console& console, std::string endpoint, Credentials credentials)
    : console_(console), endpoint_(std::move(endpoint)), credentials_(std::move(credentials)) {}

BrokerSession::~BrokerSession() = default;

ClientOptions BrokerSession::client_options() const {
  ClientOptions options;
  options.endpoints = {endpoint_};
  options.client_name = "waybill-cli";
  options.user = credentials_.user;
  options.token = credentials_.token;
  return options;
}

BlockingClient& BrokerSession::client() {
  if (!client_) {
    ClientOptions options = client_options();
    if (request_timeout_) options.request_timeout = *request_timeout_;
    options.compression = compression_;
    client_ = std::make_unique<BlockingClient>(std::move(options));
  }
  return *client_;
}

ExitCode BrokerSession::report(const RequestError& error, std::string_view name) {
  std::string what = error.explanation.empty() ? std::string(waybill::name(error.code))
                                               : escaped_text(error.explanation);
  console_.complain(what, next_step(error, name));
  return exit_code_of(error.code);
}

ExitCode BrokerSession::usage(std::string_view what, std::string_view next) {
  console_.complain(what, next);
  return ExitCode::kUsage;
}

std::string BrokerSession::next_step(const RequestError& error, std::string_view name) {
  if (exit_code_of(error.code) == ExitCode::kUnreachable) {
    return fmt::format(
        "no broker at {}: start one with 'waybilld --data DIRECTORY',\n"
        "or name another with --broker HOST:PORT or WAYBILL_BROKER",
        escaped_line(endpoint_));
  }
  if (error.code == Errc::kUnauthenticated) {
    return "say who you are with --user or WAYBILL_USER,\n"
           "and prove it with --token-file or WAYBILL_TOKEN";
  }
  bool topic = error.code == Errc::kUnknownTopic;
  bool group = error.code == Errc::kUnknownGroup;
  if ((!topic && !group) || error.explanation.contains("did you mean")) return {};
  std::string list =
      fmt::format("'waybill {} list' shows what there is", topic ? "topic" : "group");
  Reply<MetadataReply> metadata = request(MetadataRequest{});
  if (!metadata) return list;
  std::vector<std::string> names;
  for (const TopicInfo& info : metadata->catalog.topics) {
    if (topic) names.push_back(info.name);
  }
  for (const GroupInfo& info : metadata->catalog.groups) {
    if (group && !info.archived) names.push_back(info.name);
  }
  std::optional<std::string> meant = did_you_mean(name, names);
  return meant ? fmt::format("did you mean '{}'? {}", *meant, list) : list;
}

std::string BrokerSession::who() {
  constexpr std::size_t kLongestHost = 256;
  char host[kLongestHost] = "localhost";
  ::gethostname(host, sizeof host - 1);
  const passwd* user = ::getpwuid(::getuid());
  return fmt::format("{}@{}", user != nullptr ? user->pw_name : std::to_string(::getuid()), host);
}

}  // namespace waybill::cli
