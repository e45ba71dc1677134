// A broker with the topic "orders", and the command line that talks to it, as a person or a script
// has them: words go in, exit codes and output come out.
#pragma once

#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <chrono>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>

#include "tests/e2e/bystander.h"
#include "tests/e2e/program.h"

namespace waybill {

inline Words words(std::initializer_list<std::string> first, const Words& rest) {
  Words all(first);
  all.insert(all.end(), rest.begin(), rest.end());
  return all;
}

class WaybillRun : public testing::Test {
 protected:
  WaybillRun()
      : broker_(broker_on(directory_.path() / "data",
                          {"--shards", "2", "--journal-file-size", "9MiB"})) {}
  void SetUp() override {
    ASSERT_TRUE(broker_.start());
    ASSERT_EQ(waybill({"topic", "create", "orders"}).exit_code, 0);
  }

  Finished waybill(const Words& line, std::string input = "") {
    return run(words({"waybill"}, line), {.broker = broker_.address(), .input = std::move(input)});
  }
  std::unique_ptr<Program> start(const Words& line) {
    return std::make_unique<Program>(words({"waybill"}, line),
                                     ProgramOptions{.broker = broker_.address()});
  }
  /// Leases of ten minutes: what comes again within a test did not wait for one to run out.
  void make_group(const std::string& name = "billing", const Words& more = {}) {
    Finished made =
        waybill(words({"group", "create", name, "--topic", "orders", "--start", "earliest",
                       "--max-failures", "2", "--lease", "10m", "--backoff-base", "20ms"},
                      more.empty() ? Words{"--ordering", "none"} : more));
    ASSERT_EQ(made.exit_code, 0) << made;
  }
  void publish(const std::string& lines) {
    Finished end = waybill({"publish", "orders"}, lines);
    ASSERT_EQ(end.exit_code, 0) << end;
  }
  /// What a command prints with -o json.
  boost::json::value json_of(const Words& line) {
    Finished end = waybill(words({"-o", "json"}, line));
    EXPECT_EQ(end.exit_code, 0) << end;
    return boost::json::parse(end.out);
  }
  /// Of the only partition in `group describe`.
  boost::json::value in_partition(const char* field, const std::string& group = "billing") {
    return json_of({"group", "describe", group}).at("partitions").at(0).at(field);
  }
  std::int64_t count(const char* state, const std::string& group = "billing") {
    return in_partition(state, group).to_number<std::int64_t>();
  }
  /// Asks the broker until it says so, or patience is over.
  template <class Condition>
  static bool comes_true(Condition condition) {
    const auto patience = std::chrono::steady_clock::now() + Program::kPatience;
    while (!condition()) {
      if (std::chrono::steady_clock::now() >= patience) return false;
    }
    return true;
  }

  TempDirectory directory_;
  BrokerProcess broker_;
};

}  // namespace waybill
