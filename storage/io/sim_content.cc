#include "storage/io/sim_content.h"

#include <algorithm>

namespace waybill {
namespace {

bool all_zero(Bytes bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
}

}  // namespace

std::size_t SimContent::read(std::uint64_t position, MutableBytes buffer) const {
  if (position >= size_) return 0;
  const std::size_t total = std::min<std::uint64_t>(buffer.size(), size_ - position);
  for (std::size_t done = 0; done < total;) {
    const std::uint64_t at = position + done;
    const std::size_t within = at % kChunk;
    const std::size_t part = std::min(total - done, kChunk - within);
    const std::shared_ptr<Chunk>& chunk = (*chunks_)[at / kChunk];
    if (chunk) {
      std::memcpy(buffer.data() + done, chunk->data() + within, part);
    } else {
      std::memset(buffer.data() + done, 0, part);
    }
    done += part;
  }
  return total;
}

ByteVector SimContent::bytes() const {
  ByteVector all(size_);
  read(0, all);
  return all;
}

SimContent::Chunks& SimContent::own_chunks(std::uint64_t end) {
  if (!chunks_) chunks_ = std::make_shared<Chunks>();
  if (chunks_.use_count() > 1) chunks_ = std::make_shared<Chunks>(*chunks_);
  size_ = std::max(size_, end);
  const std::size_t count = (size_ + kChunk - 1) / kChunk;
  if (chunks_->size() < count) chunks_->resize(count);
  return *chunks_;
}

void SimContent::write(std::uint64_t position, Bytes data) {
  if (data.empty()) return;
  Chunks& chunks = own_chunks(position + data.size());
  for (std::size_t done = 0; done < data.size();) {
    const std::uint64_t at = position + done;
    const std::size_t within = at % kChunk;
    const std::size_t part = std::min(data.size() - done, kChunk - within);
    Bytes piece = data.subspan(done, part);
    std::shared_ptr<Chunk>& chunk = chunks[at / kChunk];
    done += part;
    if (all_zero(piece) && (part == kChunk || !chunk)) {
      chunk = nullptr;
      continue;
    }
    if (!chunk) {
      chunk = std::make_shared<Chunk>();
    } else if (chunk.use_count() > 1) {
      chunk = std::make_shared<Chunk>(*chunk);
    }
    std::memcpy(chunk->data() + within, piece.data(), part);
  }
}

void SimContent::adopt(const SimContent& other, std::uint64_t position, std::uint64_t size) {
  WB_ASSERT(position % kChunk == 0 && size % kChunk == 0, "only whole chunks can be shared");
  if (size == 0) return;
  Chunks& chunks = own_chunks(position + size);
  for (std::uint64_t at = position / kChunk; at < (position + size) / kChunk; ++at)
    chunks[at] = (*other.chunks_)[at];
}

}  // namespace waybill
