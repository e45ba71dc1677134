// HTTP as a test needs it: bytes out, everything the broker answers back in.
#pragma once

#include <array>
#include <string>
#include <string_view>

#include "tests/broker/server/raw_client.h"

namespace waybill {

/// Sends `text` and returns everything until the broker closes.
inline std::string talk(std::uint16_t port, std::string_view text) {
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

inline std::string http_request(std::uint16_t port, const std::string& method,
                                const std::string& path) {
  return talk(port, method + " " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
}

inline std::string http_body(const std::string& response) {
  return response.substr(response.find("\r\n\r\n") + 4);
}

}  // namespace waybill
