// Turns today's requests into those of the kernel that is played.
#ifndef HANDLEFS_TOOLS_STANDIN_TRANSLATOR_H_
#define HANDLEFS_TOOLS_STANDIN_TRANSLATOR_H_

#include <string_view>

#include "exchange.h"
#include "fault.h"
#include "layout.h"
#include "nodes.h"

namespace handlefs::standin {

class Translator {
 public:
  Translator(const Layout& layout, const Nodes& nodes, Coin& coin, Fault fault)
      : layout_(layout), nodes_(nodes), coin_(coin), fault_(fault) {}

  // The server's INIT answer has HAS_LOOKUP_HANDLE.
  void HandlesGranted() { has_handles_ = true; }
  // A kernel that remembers an ENOSYS got one.
  void NoMoreCompounds() { has_compounds_ = false; }

  // Messages that a server must refuse.
  uint64_t faults() const { return faults_; }

  // What to send for the request in `exchange`, whose other members it sets.
  Buffer Translate(Exchange& exchange);
  // The request as it came: where a compound is refused and not needed.
  Buffer Plain(Exchange& exchange);
  // A lookup of what MKDIR and the like have made.
  Buffer LookupMade(Exchange& exchange);
  // The same lookup again, as one that makes an inode.
  Buffer LookupAfresh(Exchange& exchange);

 private:
  Buffer Lookup(Exchange& exchange, std::string_view name);
  Buffer LookupAndGetattr(Exchange& exchange, std::string_view name);
  Buffer Open(Exchange& exchange);
  Buffer Create(Exchange& exchange);
  Buffer Frame(const Exchange& exchange) const;
  bool IsFirstLookup(const Exchange& exchange, std::string_view name);
  // The extension of a lookup; nothing where the kernel sends none.
  Buffer LookupExtension(Exchange& exchange, std::string_view name);
  Buffer HandlesOf(uint64_t node, uint64_t other) const;
  // Makes the last op fail.
  void Spoil(Exchange& exchange);
  // Whether this one is to have it, which is noted.
  bool TakesFault(Fault fault, Exchange& exchange);

  const Layout& layout_;
  const Nodes& nodes_;
  Coin& coin_;
  const Fault fault_;
  bool has_handles_ = false;
  bool has_compounds_ = true;
  uint64_t faults_ = 0;
};

}  // namespace handlefs::standin

#endif  // HANDLEFS_TOOLS_STANDIN_TRANSLATOR_H_
