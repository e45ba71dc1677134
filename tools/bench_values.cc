#include "tools/bench_values.h"

#include <algorithm>

namespace waybill::cli {
namespace {

/// Two values drawn from so much text rarely overlap within what a codec looks back on.
constexpr std::size_t kTextSize = 16 * 1024 * 1024;
constexpr std::uint64_t kWords = 2000;
constexpr std::uint64_t kShortestWord = 3;
constexpr std::uint64_t kMostLettersMore = 6;

/// Words in a row, frequent ones first in `words`: the product of two draws prefers those.
ByteVector make_text() {
  SeededRandom random(1);
  std::vector<ByteVector> words(kWords);
  for (ByteVector& word : words) {
    std::uint64_t letters = kShortestWord + random.below(kMostLettersMore);
    for (std::uint64_t i = 0; i < letters; ++i) {
      word.push_back(static_cast<std::byte>('a' + random.below(26)));
    }
    word.push_back(std::byte{' '});
  }
  ByteVector text;
  text.reserve(kTextSize);
  while (text.size() < kTextSize) {
    const ByteVector& word = words[random.below(kWords) * random.below(kWords) / kWords];
    text.insert(text.end(), word.begin(), word.end());
  }
  return text;
}

}  // namespace

ValueChoice::ValueChoice(const Bench& bench) : size_(bench.size) {
  if (bench.values == BenchValues::kText) {
    bytes_ = make_text();
    return;
  }
  SeededRandom random(1);
  bytes_.resize(bench.size);
  for (std::byte& byte : bytes_) byte = static_cast<std::byte>(random.next());
}

MutableBytes ValueChoice::draw(Random& random) {
  std::size_t from = bytes_.size() == size_ ? 0 : random.below(bytes_.size() - size_);
  return MutableBytes(bytes_).subspan(from, size_);
}

KeyChoice::KeyChoice(const Bench& bench) : keys_(bench.keys) {
  if (bench.key_distribution != KeyDistribution::kZipf) return;
  double sum = 0;
  for (std::uint64_t k = 0; k < keys_; ++k) {
    sum += 1.0 / static_cast<double>(k + 1);
    sums_.push_back(sum);
  }
}

std::optional<std::string> KeyChoice::draw(Random& random) const {
  if (keys_ == 0) return std::nullopt;
  std::uint64_t key = 0;
  if (sums_.empty()) {
    key = random.below(keys_);
  } else {
    constexpr double kUnit = 0x1p-64;
    double at = static_cast<double>(random.next()) * kUnit * sums_.back();
    auto found = std::ranges::lower_bound(sums_, at);
    key = static_cast<std::uint64_t>(std::min(found, sums_.end() - 1) - sums_.begin());
  }
  return "key-" + std::to_string(key);
}

}  // namespace waybill::cli
