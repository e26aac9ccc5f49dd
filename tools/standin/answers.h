// Checks what the server answers, as strictly as the played kernel's code reads
// it, and turns it back into what today's kernel waits for. What that kernel
// would trip over is a complaint; the request then fails with EIO.
#ifndef HANDLEFS_TOOLS_STANDIN_ANSWERS_H_
#define HANDLEFS_TOOLS_STANDIN_ANSWERS_H_

#include <optional>
#include <string>
#include <vector>

#include "complaints.h"
#include "exchange.h"
#include "nodes.h"
#include "translator.h"

namespace handlefs::standin {

struct Verdict {
  // To the kernel, unless `again` is not empty.
  Buffer reply;
  // To the server; with `again` the request is not over yet.
  Buffer before;
  Buffer again;
};

class Answers {
 public:
  Answers(const Layout& layout, Nodes& nodes, Translator& translator,
          Complaints& complaints)
      : layout_(layout),
        nodes_(nodes),
        translator_(translator),
        complaints_(complaints) {}

  // `message` is a whole reply to the request in `exchange`.
  Verdict Take(Exchange& exchange, Bytes message);

 private:
  struct SubReply {
    int error = 0;  // positive
    Bytes payload;
  };
  struct Found {
    abi::EntryOut entry{};
    Buffer handle;
  };

  Verdict Convert(Exchange& exchange, Bytes payload);
  Verdict Failed(Exchange& exchange, int error);
  // Complains, and lets the request fail as the kernel would.
  Verdict Broken(const Exchange& exchange, const std::string& why);
  Verdict Eio(const Exchange& exchange) const;
  Verdict Reply(const Exchange& exchange, Bytes payload) const;
  std::optional<std::vector<SubReply>> Split(const Exchange& exchange,
                                             Bytes body);
  bool SizeIsRight(const Sub& sub, Bytes payload) const;
  std::optional<Found> ReadEntry2(const Exchange& exchange, Bytes payload,
                                  Bytes statx);
  std::optional<Found> ReadInline(const Exchange& exchange, Bytes payload);
  std::optional<Buffer> ReadHandle(const Exchange& exchange, Bytes bytes);
  bool CheckEntry(const Exchange& exchange, const abi::EntryOut& entry);
  bool CheckAttributes(const Exchange& exchange, uint32_t mode, uint64_t size);
  // False if the node's handle is another one than before.
  bool Remember(const Exchange& exchange, const Found& found);
  Verdict Looked(Exchange& exchange, const Found& found);
  // Gives the kernel what waited for the lookup that `message` answers.
  Verdict Release(Exchange& exchange, Bytes message);
  // Notes what a plain reply tells of nodes.
  void NotePlain(const Exchange& exchange, Bytes payload);
  void NoteEntry(const Exchange& exchange, const abi::EntryOut& entry);
  bool Complain(const Exchange& exchange, const std::string& why);

  const Layout& layout_;
  Nodes& nodes_;
  Translator& translator_;
  Complaints& complaints_;
};

}  // namespace handlefs::standin

#endif  // HANDLEFS_TOOLS_STANDIN_ANSWERS_H_
