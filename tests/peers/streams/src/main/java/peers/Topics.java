package peers;

import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.GroupIdNotFoundException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** Makes, watches, reads and deletes topics; {@code main} names the commands. */
public final class Topics {
    public static void main(String[] args) throws Exception {
        if (args[0].equals("version")) {
            System.out.println("Kafka Streams " + streamsVersion());
            return;
        }
        var bootstrap = args[1];
        try (var admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            switch (args[0]) {
                case "create" -> {
                    var topic = new NewTopic(args[2], Optional.of(Integer.valueOf(args[3])), Optional.empty());
                    admin.createTopics(List.of(topic)).all().get();
                }
                case "watch" -> watch(admin, args[2], args[3]);
                case "committed" -> System.out.println(committed(admin, args[2], args[3]));
                case "records" -> System.out.println(records(bootstrap, args[2]));
                case "delete" -> {
                    var doomed = admin.listTopics().names().get().stream().filter(name -> name.contains(args[2]));
                    admin.deleteTopics(doomed.toList()).all().get();
                }
                case "metadata-version" -> {
                    var features = admin.describeFeatures().featureMetadata().get().finalizedFeatures();
                    System.out.println(features.get("metadata.version").maxVersionLevel());
                }
                default -> throw new IllegalArgumentException(args[0]);
            }
        }
    }

    private static String streamsVersion() throws Exception {
        var properties = new Properties();
        try (var file = Topics.class.getResourceAsStream("/kafka/kafka-streams-version.properties")) {
            properties.load(file);
        }
        return properties.getProperty("version");
    }

    /** Says once a second, until it is ended, how many events of the topic the group has committed. */
    private static void watch(Admin admin, String group, String topic) throws Exception {
        for (var due = System.nanoTime();; due += 1_000_000_000L) {
            Thread.sleep(Duration.ofNanos(Math.max(0, due - System.nanoTime())).toMillis());
            System.out.println(committed(admin, group, topic));
        }
    }

    private static long committed(Admin admin, String group, String topic) throws Exception {
        Map<TopicPartition, OffsetAndMetadata> offsets;
        try {
            offsets = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
        } catch (ExecutionException failure) {
            if (failure.getCause() instanceof GroupIdNotFoundException) {
                return 0;
            }
            throw failure;
        }
        return offsets.entrySet().stream()
                .filter(entry -> entry.getKey().topic().equals(topic) && entry.getValue() != null)
                .mapToLong(entry -> entry.getValue().offset())
                .sum();
    }

    /** Counts what a read_committed reader is given. */
    private static long records(String bootstrap, String topic) {
        Map<String, Object> settings = Map.of(
                "bootstrap.servers", bootstrap,
                "isolation.level", "read_committed",
                "enable.auto.commit", false,
                "max.poll.records", 10_000,
                "key.deserializer", ByteArrayDeserializer.class,
                "value.deserializer", ByteArrayDeserializer.class);
        try (var consumer = new KafkaConsumer<byte[], byte[]>(settings)) {
            var partitions = consumer.partitionsFor(topic).stream()
                    .map(info -> new TopicPartition(topic, info.partition()))
                    .toList();
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            var ends = consumer.endOffsets(partitions);
            long count = 0;
            while (partitions.stream().anyMatch(partition -> consumer.position(partition) < ends.get(partition))) {
                count += consumer.poll(Duration.ofSeconds(1)).count();
            }
            return count;
        }
    }
}
