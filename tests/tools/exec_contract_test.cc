// Goal: what the end of a program says about its message is exactly the documented contract.
// Method: the mapping as a table; then real programs (sh) through run_program and WorkerProcess.
#include "tools/exec_contract.h"

#include <gtest/gtest.h>
#include <signal.h>

#include "protocol/base/limits.h"
#include "tools/child_process.h"
#include "tools/escape.h"
#include "tools/worker_process.h"

namespace waybill::cli {
namespace {

TEST(ExecContractTest, ExitZeroAcks) {
  EXPECT_EQ(settle_for({0, 0}, "chatter").verb, SettleVerb::kAck);
}

TEST(ExecContractTest, ExitCodesChooseTheClass) {
  auto class_of = [](int code) { return settle_for({code, 0}, "").failure.failure_class; };
  EXPECT_EQ(class_of(75), FailureClass::kTransient);
  EXPECT_EQ(class_of(65), FailureClass::kInvalid);
  EXPECT_EQ(class_of(1), FailureClass::kFailed);
  EXPECT_EQ(class_of(127), FailureClass::kFailed);
  EXPECT_EQ(settle_for({65, 0}, "").verb, SettleVerb::kRetry) << "the group's policy decides";
}

TEST(ExecContractTest, TheCodeIsTheWordBeforeAColonInTheLastLine) {
  auto code = [](std::string_view output) { return settle_for({3, 0}, output).failure.code; };
  EXPECT_EQ(code("unknown_state: <none>\n"), "unknown_state");
  EXPECT_EQ(code("Traceback:\n  File x\nValueError: bad date\n"), "ValueError");
  EXPECT_EQ(code("db_down\n"), "db_down");
  EXPECT_EQ(code("it did not work"), "exit_3");
  EXPECT_EQ(code("  : nothing"), "exit_3");
  EXPECT_EQ(code(""), "exit_3");
  EXPECT_EQ(code(std::string(65, 'x').append(":")), "exit_3") << "longer than a code may be";
  EXPECT_EQ(settle_for({127, 0}, "sh: 1: foo: not found").failure.code, "exit_127");
  EXPECT_EQ(settle_for({0, SIGSEGV}, "oops: x").failure.code, "signal_11");
}

TEST(ExecContractTest, TheDetailIsTheEndOfTheOutputAndAlwaysText) {
  EXPECT_EQ(settle_for({1, 0}, "  a\nb \n").failure.detail, "a\nb");
  std::string cut = settle_for({1, 0}, std::string(5000, 'x').append("üend")).failure.detail;
  EXPECT_LE(cut.size(), limits::kMaxFailureDetail);
  EXPECT_TRUE(cut.starts_with("…x")) << cut.substr(0, 8);
  EXPECT_TRUE(cut.ends_with("üend"));
  std::string broken = settle_for({1, 0}, "\xff" + std::string(2000, '\xfe')).failure.detail;
  EXPECT_TRUE(is_utf8(broken));
  EXPECT_LE(broken.size(), limits::kMaxFailureDetail);
  EXPECT_FALSE(settle_for({1, 0}, "").failure.detail.empty());
}

TEST(ExecContractTest, HeadersThatAreTextGoIntoTheEnvironment) {
  std::vector<Header> headers{{"trace-id", to_vector(as_bytes("a=b"))},
                              {"bytes", to_vector(as_bytes("\xff"))},
                              {"wb-redrive", to_vector(as_bytes("x"))}};
  EXPECT_EQ(header_environment(headers), (std::vector<std::string>{"WAYBILL_HEADER_TRACE_ID=a=b"}));
}

ChildOptions shell(std::string command) {
  ChildOptions options;
  options.command = std::move(command);
  options.output_to_stderr = true;
  return options;
}

TEST(RunProgramTest, InputEnvironmentErrorsAndExitCodeGoThrough) {
  ChildOptions options = shell("read line; echo \"$WAYBILL_KEY got $line\" >&2; exit 7");
  options.environment = {"WAYBILL_KEY=k1"};
  auto result = run_program(options, "hello\n");
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->end, (ProcessEnd{7, 0}));
  EXPECT_EQ(result->error_output, "k1 got hello\n");
}

TEST(RunProgramTest, LargeInputArrivesWholeAndUnreadInputIsNoError) {
  std::string large(3'000'000, 'x');
  auto counted = run_program(shell("wc -c >&2"), large);
  ASSERT_TRUE(counted.ok());
  EXPECT_EQ(counted->error_output, "3000000\n");
  ::signal(SIGPIPE, SIG_IGN);
  auto ignored = run_program(shell("exit 0"), large);
  ASSERT_TRUE(ignored.ok());
  EXPECT_EQ(ignored->end, ProcessEnd{});
}

TEST(RunProgramTest, AKilledProgramIsSeenAsKilled) {
  auto result = run_program(shell("kill -9 $$"), "");
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->end, (ProcessEnd{0, 9}));
}

TEST(RunProgramTest, AGrandchildThatKeepsThePipeOpenDoesNotHoldUsUp) {
  auto result = run_program(shell("sleep 300 & echo $! >&2; exit 4"), "");
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->end.exit_code, 4);
  pid_t grandchild = std::stoi(result->error_output);
  EXPECT_EQ(::kill(grandchild, SIGKILL), 0) << "it was waited for until it ended by itself";
}

TEST(RunProgramTest, OnlyTheEndOfALongOutputIsKept) {
  auto result = run_program(shell("yes error | head -c 1000000 >&2; echo last >&2; exit 1"), "");
  ASSERT_TRUE(result.ok());
  EXPECT_LE(result->error_output.size(), 4096U);
  EXPECT_TRUE(result->error_output.ends_with("last\n"));
}

TEST(WorkerProcessTest, OneWorkerAnswersManyMessages) {
  WorkerProcess worker(R"(while read l; do echo '{"id":"m","result":"ack"}'; done)", [](auto) {});
  for (int count = 0; count < 20; ++count) {
    EXPECT_EQ(worker.handle("m", "{}").verb, SettleVerb::kAck);
  }
  EXPECT_EQ(worker.pause().count(), 0);
}

TEST(WorkerProcessTest, AWorkerThatEndsFailsItsMessageAndIsStartedAgain) {
  WorkerProcess worker(R"(read l; echo "boom: $l" >&2; exit 9)", [](auto) {});
  SettleOptions first = worker.handle("m", "one");
  EXPECT_EQ(first.verb, SettleVerb::kRetry);
  EXPECT_EQ(first.failure.failure_class, FailureClass::kFailed);
  EXPECT_EQ(first.failure.code, "worker_ended");
  EXPECT_TRUE(first.failure.detail.contains("exit 9: boom: one")) << first.failure.detail;
  EXPECT_EQ(worker.pause().count(), 100);
  EXPECT_TRUE(worker.handle("m", "two").failure.detail.contains("boom: two"));
  EXPECT_EQ(worker.pause().count(), 200);
}

TEST(WorkerProcessTest, WhatIsNoAnswerFailsTheMessage) {
  for (const char* said : {"hello", "{\"id\":\"other\",\"result\":\"ack\"}"}) {
    WorkerProcess worker("while read l; do echo '" + std::string(said) + "'; done", [](auto) {});
    SettleOptions settle = worker.handle("m", "{}");
    EXPECT_EQ(settle.failure.code, "worker_answer") << said;
  }
  WorkerProcess endless("yes | tr -d '\\n'", [](auto) {});
  EXPECT_EQ(endless.handle("m", "{}").failure.code, "worker_answer");
}

TEST(WorkerProcessTest, AnAnswerJustBeforeTheEndCounts) {
  WorkerProcess worker(R"(read l; echo '{"id":"m","result":"release"}')", [](auto) {});
  EXPECT_EQ(worker.handle("m", "{}").verb, SettleVerb::kRelease);
}

}  // namespace
}  // namespace waybill::cli
