plugins {
    id("com.android.application")
    id("org.jetbrains.kotlin.android")
}

android {
    namespace = "org.secateur.faces"
    compileSdk = 35
    defaultConfig {
        applicationId = "org.secateur.faces"
        minSdk = 26
        targetSdk = 35
        versionCode = 1
        versionName = "1.0"
    }
    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_17
        targetCompatibility = JavaVersion.VERSION_17
    }
    kotlinOptions {
        jvmTarget = "17"
    }
    // networks are mapped into memory as they are
    androidResources {
        noCompress += listOf("onnx", "pte")
    }
}

dependencies {
    implementation("androidx.activity:activity-ktx:1.9.3")
    // one of the two is enough for an app; this example takes whichever file lies in the assets
    implementation("com.microsoft.onnxruntime:onnxruntime-android:1.20.0")
    implementation("org.pytorch:executorch-android:1.0.0")
}
