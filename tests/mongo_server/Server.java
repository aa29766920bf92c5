import de.bwaldvogel.mongo.MongoCollection;
import de.bwaldvogel.mongo.MongoDatabase;
import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.MongoVersion;
import de.bwaldvogel.mongo.backend.AbstractUniqueIndex;
import de.bwaldvogel.mongo.backend.Index;
import de.bwaldvogel.mongo.backend.IndexKey;
import de.bwaldvogel.mongo.backend.KeyValue;
import de.bwaldvogel.mongo.backend.h2.H2Backend;
import de.bwaldvogel.mongo.backend.h2.H2Database;
import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.exception.DuplicateKeyError;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import org.h2.mvstore.MVMap;

/** A server with the protocol of MongoDB 4.4 on a file and a port: java -cp JARS Server FILE PORT. */
public class Server {
    /** The oldest version that current drivers talk to. */
    private record Version() implements MongoVersion {
        public List<Integer> getVersionArray() {
            return List.of(4, 4, 0);
        }

        public int getWireVersion() {
            return 9;
        }
    }

    /** Unique indexes are partial: the library has none of those, and would give null to what has no value. */
    private static class PartialIndex extends AbstractUniqueIndex<Object> {
        private final MVMap<KeyValue, Object> positions;

        PartialIndex(MVMap<KeyValue, Object> positions, String name, List<IndexKey> keys) {
            super(name, keys, false);
            this.positions = positions;
        }

        @Override
        public Set<KeyValue> getKeyValues(Document document) {
            Set<KeyValue> found = new LinkedHashSet<>(super.getKeyValues(document));
            found.removeIf(key -> key.stream().noneMatch(Objects::nonNull));
            return found;
        }

        @Override
        public synchronized void checkAdd(Document document, MongoCollection<Object> collection) {
            checkUpdate(new Document(), document, collection);
        }

        @Override
        public synchronized void checkUpdate(Document before, Document after, MongoCollection<Object> collection) {
            Set<KeyValue> own = getKeyValues(before);
            for (KeyValue key : getKeyValues(after)) {
                if (!own.contains(key) && containsKey(key)) {
                    throw new DuplicateKeyError(this, collection, getKeys(), key);
                }
            }
        }

        @Override
        public synchronized Object remove(Document document) {
            Object removed = super.remove(document);
            // A collection knows its documents by their ids, and asks every index for the position.
            return removed == null ? document.get("_id") : removed;
        }

        @Override
        public synchronized boolean canHandle(Document query) {
            return false;
        }

        @Override
        protected Object removeDocument(KeyValue key) {
            return positions.remove(key);
        }

        @Override
        protected boolean putKeyPosition(KeyValue key, Object position) {
            return positions.putIfAbsent(key, position) == null;
        }

        @Override
        protected Iterable<Map.Entry<KeyValue, Object>> getIterable() {
            return positions.entrySet();
        }

        @Override
        protected Object getPosition(KeyValue key) {
            return positions.get(key);
        }

        @Override
        public long getCount() {
            return positions.sizeAsLong();
        }

        @Override
        public long getDataSize() {
            return getCount();
        }

        @Override
        public void drop() {
            positions.clear();
        }
    }

    private static class Backend extends H2Backend {
        Backend(String file) {
            super(file);
        }

        @Override
        protected MongoDatabase openOrCreateDatabase(String name) {
            return new Database(name);
        }

        private class Database extends H2Database {
            Database(String name) {
                super(name, getMvStore(), getCursorRegistry());
            }

            @Override
            protected Index<Object> openOrCreateUniqueIndex(
                    String collection, String name, List<IndexKey> keys, boolean sparse) {
                if (name.equals("_id_")) {
                    return super.openOrCreateUniqueIndex(collection, name, keys, sparse);
                }
                String map = "partial." + getDatabaseName() + "." + collection + "." + name;
                return new PartialIndex(getMvStore().openMap(map), name, keys);
            }
        }
    }

    public static void main(String[] arguments) {
        H2Backend backend = new Backend(arguments[0]);
        backend.version(new Version());
        MongoServer server = new MongoServer(backend);
        Runtime.getRuntime().addShutdownHook(new Thread(server::shutdownNow));
        server.bind("127.0.0.1", Integer.parseInt(arguments[1]));
    }
}
