// Goal: the HTTP port tells supervisors and Prometheus the truth and nobody can keep it busy.
// Method: a real broker in this process, requests written by hand.
#include <gtest/gtest.h>

#include "tests/broker/server/metrics_parser.h"
#include "tests/broker/server/raw_client.h"

namespace waybill {
namespace {

/// Sends `text` and returns everything until the broker closes.
std::string talk(std::uint16_t port, std::string_view text) {
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &RawClient::kPatience, sizeof RawClient::kPatience);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  EXPECT_EQ(send(fd, text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
  std::string answer;
  std::array<char, 4096> buffer{};
  while (true) {
    ssize_t size = recv(fd, buffer.data(), buffer.size(), 0);
    if (size <= 0) break;
    answer.append(buffer.data(), static_cast<std::size_t>(size));
  }
  ::close(fd);
  return answer;
}

std::string request(std::uint16_t port, const std::string& method, const std::string& path) {
  return talk(port, method + " " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
}

std::string body(const std::string& response) {
  return response.substr(response.find("\r\n\r\n") + 4);
}

class HttpTest : public testing::Test {
 protected:
  LocalBroker broker_;
};

TEST_F(HttpTest, LiveAndReady) {
  EXPECT_TRUE(request(broker_.http_port(), "GET", "/livez").starts_with("HTTP/1.1 200 "));
  EXPECT_TRUE(request(broker_.http_port(), "GET", "/readyz").starts_with("HTTP/1.1 200 "));
}

TEST_F(HttpTest, MetricsParseAndCountWhatHappened) {
  RawClient client(broker_.port());
  ASSERT_TRUE(client.hello().ok());
  auto topic = client.ask(CreateTopicRequest{"t", 2});
  ASSERT_TRUE(topic.ok());
  ASSERT_TRUE(client.ask(publish_to(topic->topic.id, batch_of(10), 0)).ok());
  ASSERT_TRUE(client.ask(publish_to(topic->topic.id, batch_of(10), 1)).ok());
  std::string response = request(broker_.http_port(), "GET", "/metrics");
  ASSERT_TRUE(response.starts_with("HTTP/1.1 200 ")) << response;
  auto samples = parse_metrics(body(response));
  double published = samples.at("waybill_messages_published_total{shard=\"0\"}") +
                     samples.at("waybill_messages_published_total{shard=\"1\"}");
  EXPECT_EQ(published, 2);
  EXPECT_EQ(samples.at("waybill_connections"), 1);
  EXPECT_EQ(samples.at("waybill_ready"), 1);
}

TEST_F(HttpTest, OtherPathsAndMethodsAreRefusedClearly) {
  EXPECT_TRUE(request(broker_.http_port(), "GET", "/").starts_with("HTTP/1.1 404 "));
  std::string post = request(broker_.http_port(), "POST", "/metrics");
  EXPECT_TRUE(post.starts_with("HTTP/1.1 405 ")) << post;
  EXPECT_NE(post.find("Allow: GET, HEAD"), std::string::npos) << post;
  std::string head = request(broker_.http_port(), "HEAD", "/livez");
  EXPECT_TRUE(head.starts_with("HTTP/1.1 200 "));
  EXPECT_EQ(body(head), "");
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
