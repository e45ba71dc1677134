// Goal: the HTTP port tells supervisors and Prometheus the truth and nobody can keep it busy.
// Method: a real broker in this process, requests written by hand.
#include <gtest/gtest.h>

#include "tests/broker/server/http_talk.h"
#include "tests/broker/server/metrics_parser.h"
#include "tests/broker/server/raw_client.h"

namespace waybill {
namespace {

class HttpTest : public testing::Test {
 protected:
  LocalBroker broker_;
};

TEST_F(HttpTest, LiveAndReady) {
  EXPECT_TRUE(http_request(broker_.http_port(), "GET", "/livez").starts_with("HTTP/1.1 200 "));
  EXPECT_TRUE(http_request(broker_.http_port(), "GET", "/readyz").starts_with("HTTP/1.1 200 "));
}

TEST_F(HttpTest, MetricsParseAndCountWhatHappened) {
  RawClient client(broker_.port());
  ASSERT_TRUE(client.hello().ok());
  auto topic = client.ask(CreateTopicRequest{"t", 2});
  ASSERT_TRUE(topic.ok());
  ASSERT_TRUE(client.ask(publish_to(topic->topic.id, batch_of(10), 0)).ok());
  ASSERT_TRUE(client.ask(publish_to(topic->topic.id, batch_of(10), 1)).ok());
  std::string response = http_request(broker_.http_port(), "GET", "/metrics");
  ASSERT_TRUE(response.starts_with("HTTP/1.1 200 ")) << response;
  auto samples = parse_metrics(http_body(response));
  double published = samples.at("waybill_messages_published_total{shard=\"0\"}") +
                     samples.at("waybill_messages_published_total{shard=\"1\"}");
  EXPECT_EQ(published, 2);
  EXPECT_EQ(samples.at("waybill_connections"), 1);
  EXPECT_EQ(samples.at("waybill_ready"), 1);
}

TEST_F(HttpTest, OtherPathsAndMethodsAreRefusedClearly) {
  EXPECT_TRUE(http_request(broker_.http_port(), "GET", "/").starts_with("HTTP/1.1 404 "));
  std::string post = http_request(broker_.http_port(), "POST", "/metrics");
  EXPECT_TRUE(post.starts_with("HTTP/1.1 405 ")) << post;
  EXPECT_NE(post.find("Allow: GET, HEAD"), std::string::npos) << post;
  std::string head = http_request(broker_.http_port(), "HEAD", "/livez");
  EXPECT_TRUE(head.starts_with("HTTP/1.1 200 "));
  EXPECT_EQ(http_body(head), "");
}

TEST_F(HttpTest, GarbageAndTooMuchAreAnsweredAndClosed) {
  EXPECT_TRUE(talk(broker_.http_port(), "nonsense\r\n\r\n").starts_with("HTTP/1.1 400 "));
  std::string long_head = "GET /livez HTTP/1.1\r\nX: " + std::string(20'000, 'x');
  EXPECT_TRUE(talk(broker_.http_port(), long_head).starts_with("HTTP/1.1 400 "));
  std::string with_body = "GET /livez HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello";
  EXPECT_TRUE(talk(broker_.http_port(), with_body).starts_with("HTTP/1.1 400 "));
}

TEST_F(HttpTest, AKeptConnectionServesSeveralRequests) {
  std::string two = talk(broker_.http_port(),
                         "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
                         "GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  EXPECT_NE(two.find("ok\n"), std::string::npos);
  EXPECT_NE(two.find("ready\n"), std::string::npos);
}

}  // namespace
}  // namespace waybill
