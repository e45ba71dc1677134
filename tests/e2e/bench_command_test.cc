// Goal: `waybill bench` says what happened, keeps no topic behind, and notices a broker that does
// not keep its word in numbers that scripts can read.
// Method: small loads on a real broker; what is compared are counts, never times.
#include <unistd.h>

#include <algorithm>
#include <boost/json.hpp>
#include <filesystem>
#include <fstream>

#include "tests/e2e/waybill_run.h"

namespace waybill {
namespace {

namespace json = boost::json;

class BenchRun : public WaybillRun {
 protected:
  /// A short load, with what stays of it.
  json::value bench(const Words& line, const Words& more = {}) {
    Words all{"bench"};
    all.insert(all.end(), line.begin(), line.end());
    all.insert(all.end(), {"--partitions", "3", "--in-flight", "50"});
    all.insert(all.end(), more.begin(), more.end());
    return json_of(all);
  }
  static std::int64_t number(const json::value& result, const char* part, const char* field) {
    return result.at(part).at(field).to_number<std::int64_t>();
  }
  std::size_t topics() { return json_of({"topic", "list"}).as_array().size(); }
};

TEST_F(BenchRun, EveryConfirmedMessageIsConsumedAndTheTopicIsGone) {
  json::value result = bench({"e2e", "--duration", "200ms", "--warm-up", "0ms"},
                             {"--size", "16", "--ordering", "key", "--keys", "10"});
  EXPECT_GT(number(result, "checked", "confirmed"), 0);
  EXPECT_EQ(number(result, "checked", "confirmed"), number(result, "checked", "ended"));
  EXPECT_EQ(number(result, "checked", "missing"), 0);
  EXPECT_EQ(number(result, "checked", "redelivered"), 0);
  EXPECT_EQ(number(result, "published", "refused"), 0);
  EXPECT_EQ(topics(), 1u) << "orders";
}

TEST_F(BenchRun, WhatFailsOnPurposeComesAgainAndWhatDiesIsCountedAsEnded) {
  json::value result =
      bench({"consume", "--messages", "300"}, {"--failing", "50", "--dying", "25"});
  EXPECT_EQ(number(result, "checked", "confirmed"), 300);
  EXPECT_EQ(number(result, "checked", "ended"), 300);
  EXPECT_GT(number(result, "checked", "redelivered"), 0);
  EXPECT_LT(number(result, "checked", "redelivered"), 300);
}

TEST_F(BenchRun, ARateIsKeptAndResultsAreCompared) {
  Words load{"publish", "--duration", "300ms", "--warm-up", "0ms", "--rate", "1000"};
  std::string file = (directory_.path() / "result.json").string();
  json::value result = bench(load, {"--result", file, "--keep"});
  // 1000 a second for 0.3 s are due; what is due is published, however late.
  EXPECT_EQ(number(result, "checked", "confirmed"), 300);
  EXPECT_EQ(topics(), 2u);
  std::ifstream in(file);
  std::string text{std::istreambuf_iterator<char>(in), {}};
  EXPECT_EQ(json::parse(text).at("checked"), result.at("checked"));
  json::value ratios = json_of({"bench", "compare", file, file});
  EXPECT_EQ(ratios.at("published.per_second").to_number<double>(), 1.0);
  EXPECT_EQ(ratios.at("published.latency.max_us").to_number<double>(), 1.0);
  EXPECT_EQ(ratios.at("client_cpu_s_per_million").to_number<double>(), 1.0);
}

TEST_F(BenchRun, WhatDiffersBetweenTwoResultsIsSaid) {
  std::string path = directory_.path().string();
  auto file = [&](const std::string& name, const std::string& text) {
    std::ofstream(path + "/" + name) << text;
    return path + "/" + name;
  };
  std::string common = R"(,"published":{"per_second":5},"checked":{"confirmed":2000000},)"
                       R"("client_cpu_s":3,"broker_cpu_s":5)";
  std::string one = file("one", R"({"parameters":{"scenario":"publish","rate":0},)"
                                R"("environment":{"kernel":"6.1","broker":"a:1"})" +
                                    common + "}");
  std::string other = file("other", R"({"parameters":{"scenario":"publish","rate":0,"rows":7},)"
                                    R"("environment":{"kernel":"6.9","broker":"b:1"})" +
                                        common + "}");
  Finished end = waybill({"bench", "compare", one, other});
  EXPECT_EQ(end.exit_code, 0) << end;
  EXPECT_NE(end.err.find("kernel is \"6.1\" and \"6.9\""), std::string::npos) << end;
  EXPECT_NE(end.err.find("rows is \"absent\" and 7"), std::string::npos) << end;
  EXPECT_EQ(end.err.find("a:1"), std::string::npos) << "an address is no difference: " << end;
  EXPECT_NE(end.out.find("broker_cpu_s_per_million"), std::string::npos) << end;
  EXPECT_NE(end.out.find("2.50"), std::string::npos) << "5 s for 2 million: " << end;
  for (const std::string& bad : {file("bad", R"({"parameters":1,"published":2})"),
                                 file("empty", R"({"parameters":{},"published":{}})"), path}) {
    end = waybill({"bench", "compare", one, bad});
    EXPECT_EQ(end.exit_code, 2) << end;
    EXPECT_NE(end.err.find(bad), std::string::npos) << end;
  }
  EXPECT_EQ(waybill({"bench", "compare", one, path + "/none"}).exit_code, 3);
}

TEST_F(BenchRun, SaysWhereItRanAndWhatWasAskedFor) {
  json::value result =
      bench({"publish", "--duration", "100ms", "--warm-up", "0ms"},
            {"--retention", "1h", "--every", "2s", "--broker-pid", std::to_string(broker_.pid())});
  const json::value& environment = result.at("environment");
  EXPECT_EQ(environment.at("broker_version"), "0.1.0");
  EXPECT_EQ(environment.at("client_version"), "0.1.0");
  EXPECT_GT(environment.at("memory_bytes").to_number<std::uint64_t>(), 0u);
  EXPECT_TRUE(environment.at("shares_cores_with_broker").as_bool());
  EXPECT_TRUE(environment.at("broker_file_system").is_string());
  EXPECT_TRUE(environment.at("broker_sync_method").is_null()) << "nobody tells a client";
  EXPECT_EQ(result.at("parameters").at("retention_ms"), 3'600'000);
  EXPECT_EQ(result.at("parameters").at("every_ms"), 2000);
  result = bench({"publish", "--duration", "100ms", "--warm-up", "0ms"});
  EXPECT_TRUE(result.at("environment").at("broker_engine").is_null()) << "without its process";
  EXPECT_TRUE(result.at("parameters").at("retention_ms").is_null());
}

TEST_F(BenchRun, WhatLiesThereHasADeliveryRateAndNoLatency) {
  std::string page = (directory_.path() / "page.html").string();
  json::value result = bench({"consume", "--messages", "3000"}, {"--html", page});
  EXPECT_TRUE(result.at("consumed").at("latency").is_null());
  EXPECT_TRUE(result.at("consumed").at("over_time").is_array());
  EXPECT_GT(result.at("client_cpu_s_per_million").to_number<double>(), 0);
  Finished none = waybill({"bench", "consume", "--hdr", page});
  EXPECT_EQ(none.exit_code, 2) << none;
}

TEST_F(BenchRun, ARateThatIsTooHighIsTriedNoLongerThanAsked) {
  const std::int64_t rate = 50'000'000;
  Finished run = waybill({"-o", "json", "bench", "publish", "--duration", "300ms", "--warm-up",
                          "0ms", "--size", "16", "--rate", std::to_string(rate)});
  json::value result = json::parse(run.out);
  EXPECT_GT(number(result, "checked", "confirmed"), 0);
  std::int64_t tried =
      number(result, "checked", "confirmed") + number(result, "published", "refused");
  EXPECT_LT(tried, rate * 3 / 10) << "all that was due, when it was over long since";
  // What was not tried was due all the same: it is counted, charged and said.
  EXPECT_EQ(tried + number(result, "published", "unsent"), rate * 3 / 10);
  json::value latency = result.at("published").at("latency");
  EXPECT_EQ(latency.at("count").to_number<std::int64_t>(), rate * 3 / 10);
  EXPECT_EQ(run.exit_code, 1) << run;
}

TEST_F(BenchRun, OneByOneOrTogetherEverythingIsConfirmed) {
  for (const char* batch : {"1", "7"}) {
    json::value result = bench({"consume", "--messages", "100"}, {"--batch", batch});
    EXPECT_EQ(number(result, "checked", "confirmed"), 100) << batch;
    EXPECT_EQ(number(result, "checked", "ended"), 100) << batch;
  }
}

TEST_F(BenchRun, RowsOfAnOutboxReachTheLogOnceEachAndNothingStays) {
  std::string directory = (directory_.path() / "app").string();
  std::filesystem::create_directory(directory);
  for (const char* rate : {"0", "400"}) {
    Words load{"outbox", "--threads", "2", "--rows", "3", "--duration", "300ms"};
    load.insert(load.end(), {"--warm-up", "0ms", "--size", "40", "--keys", "10", "--synchronous"});
    load.insert(load.end(), {"normal", "--database", directory});
    load.insert(load.end(), {"--result", directory + "/result.json"});
    if (std::string_view(rate) != "0") load.insert(load.end(), {"--rate", rate});
    json::value result = json_of(words({"bench"}, load));
    EXPECT_GT(number(result, "outbox", "committed"), 0);
    EXPECT_EQ(number(result, "outbox", "committed") % 3, 0) << "whole transactions";
    EXPECT_EQ(number(result, "checked", "confirmed"), number(result, "outbox", "committed"));
    EXPECT_EQ(number(result, "outbox", "left"), 0);
    EXPECT_GT(result.at("outbox").at("latency").at("p50_us").to_number<double>(), 0);
    EXPECT_EQ(result.at("parameters").at("scenario"), "outbox");
    EXPECT_EQ(topics(), 1u);
  }
  auto files = std::filesystem::directory_iterator(directory);
  EXPECT_EQ(std::distance(begin(files), end(files)), 1) << "the result alone";
  Finished nowhere = waybill({"bench", "outbox", "--database", directory + "/none"});
  EXPECT_EQ(nowhere.exit_code, 2) << nowhere;
}

TEST_F(BenchRun, CompressedBatchesOfTextAreConsumedWhole) {
  for (const char* codec : {"gzip", "zstd"}) {
    json::value result = bench({"consume", "--messages", "300"},
                               {"--compression", codec, "--values", "text", "--keys", "5",
                                "--ordering", "key", "--failing", "10"});
    EXPECT_EQ(number(result, "checked", "confirmed"), 300) << codec;
    EXPECT_EQ(number(result, "checked", "ended"), 300) << codec;
    EXPECT_EQ(result.at("parameters").at("compression"), codec);
  }
}

TEST_F(BenchRun, SaysWhatTheDeviceCanAndWhatTheBrokerTook) {
  std::string directory = directory_.path().string();
  std::string pid = std::to_string(::getpid());  // any process has CPU time
  json::value result = bench({"e2e", "--duration", "200ms", "--warm-up", "0ms"},
                             {"--device", directory, "--broker-pid", pid, "--html",
                              directory + "/page.html", "--hdr", directory + "/times.hgrm"});
  EXPECT_GE(result.at("broker_cpu_s").to_number<double>(), 0);
  const json::value& device = result.at("device");
  EXPECT_EQ(device.at("durable_writes").as_array().size(), 6u) << "4 KiB and 1 MiB; 1, 4 and 16";
  EXPECT_GT(device.at("loopback_p50_us").to_number<double>(), 0);
  EXPECT_GT(device.at("crc32c_bytes_per_second").to_number<double>(), 0);
  auto text_of = [](const std::string& file) {
    std::ifstream in(file);
    return std::string{std::istreambuf_iterator<char>(in), {}};
  };
  std::string page = text_of(directory + "/page.html");
  EXPECT_NE(page.find("<polyline"), std::string::npos);
  EXPECT_EQ(page.find("http"), std::string::npos) << "it needs nothing from elsewhere";
  EXPECT_NE(text_of(directory + "/times.hgrm").find("#[Max"), std::string::npos);
}

TEST_F(BenchRun, ABrokerThatIsGoneEndsTheLoadAndIsSaidOnce) {
  auto load = start({"-o", "json", "bench", "e2e", "--warm-up", "0ms", "--duration", "10m",
                     "--patience", "1s", "--every", "1s"});
  ASSERT_TRUE(comes_true([&] { return load->errors().contains("confirmed/s"); }));
  broker_.kill();
  Finished end = load->finish();
  EXPECT_EQ(end.exit_code, 5) << end;
  EXPECT_EQ(end.err.find("error: "), end.err.rfind("error: ")) << end;
  EXPECT_NE(end.err.find("the broker is gone since"), std::string::npos) << end;
  json::value result = json::parse(end.out);
  double gone = result.at("broker_gone_after_s").to_number<double>();
  EXPECT_LE(result.at("measured_s").to_number<double>(), gone) << "what was measured, no more";
  EXPECT_GT(number(result, "published", "confirmed"), 0);
  EXPECT_GT(number(result, "published", "refused"), 0) << "what was on its way";
  EXPECT_EQ(result.at("published").at("latency").at("count").to_number<std::int64_t>(),
            number(result, "published", "refused") + number(result, "checked", "confirmed"));
  EXPECT_TRUE(result.at("checked").at("missing").is_null()) << "nobody can know";
}

TEST_F(BenchRun, AnInterruptedLoadSaysSoAndCallsNothingMissing) {
  auto load = start({"-o", "json", "bench", "consume", "--messages", "100000000", "--size", "8"});
  ASSERT_TRUE(comes_true([&] {
    json::array all = json_of({"topic", "list"}).as_array();
    return all.size() == 2 && std::ranges::any_of(all, [&](const json::value& topic) {
             std::string name(topic.at("name").as_string());
             json::value one = json_of({"topic", "describe", name});
             return name != "orders" &&
                    one.at("partitions").at(0).at("end").to_number<std::int64_t>() > 0;
           });
  }));
  load->signal(SIGINT);
  Finished end = load->finish();
  EXPECT_EQ(end.exit_code, 130) << end;
  json::value result = json::parse(end.out);
  EXPECT_GT(result.at("interrupted_after_s").to_number<double>(), 0);
  EXPECT_GT(number(result, "checked", "confirmed"), 0);
  EXPECT_TRUE(result.at("checked").at("missing").is_null()) << "nobody has consumed them";
  EXPECT_EQ(topics(), 1u);
}

TEST_F(BenchRun, MistakesAreSaidBeforeAnythingIsDone) {
  Finished none = waybill({"bench", "e2e", "--ordering", "key"});
  EXPECT_EQ(none.exit_code, 2) << none;
  EXPECT_NE(none.err.find("--keys"), std::string::npos) << none;
  Finished much = waybill({"bench", "e2e", "--failing", "60", "--dying", "60"});
  EXPECT_EQ(much.exit_code, 2) << much;
  Finished nowhere = waybill({"bench", "publish", "--result", "/none/result.json"});
  EXPECT_EQ(nowhere.exit_code, 2) << nowhere;
  Finished foreign = waybill({"bench", "compare", "/dev/null", "/dev/null"});
  EXPECT_EQ(foreign.exit_code, 2) << foreign;
  EXPECT_NE(foreign.err.find("no result"), std::string::npos) << foreign;
  Finished zipf = waybill({"bench", "publish", "--key-distribution", "zipf"});
  EXPECT_EQ(zipf.exit_code, 2) << zipf;
  EXPECT_NE(zipf.err.find("--keys"), std::string::npos) << zipf;
  Finished nobody = waybill({"bench", "publish", "--broker-pid", "4194305"});
  EXPECT_EQ(nobody.exit_code, 2) << "more than the kernel ever gives: " << nobody;
  EXPECT_EQ(waybill({"bench", "device", "/nonexistent"}).exit_code, 3);
  EXPECT_EQ(topics(), 1u);
  broker_.kill();
  std::string file = (directory_.path() / "result.json").string();
  Finished unreachable = waybill({"bench", "publish", "--result", file});
  EXPECT_EQ(unreachable.exit_code, 5) << unreachable;
  EXPECT_FALSE(std::filesystem::exists(file)) << "there is no result";
}

}  // namespace
}  // namespace waybill
