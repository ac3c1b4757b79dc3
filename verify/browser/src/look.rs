//! How a page looks: its size, light or dark, and images of it.

use std::path::PathBuf;
use std::time::Duration;

use data_encoding::BASE64;
use serde_json::json;
use thirtyfour::bidi::modules::browsing_context::{SetViewport, Viewport};

use crate::{Browser, Page};

/// How long a change of colours and sizes may take.
const SETTLED_AFTER: Duration = Duration::from_millis(600);

impl Browser {
    /// How wide and high the page is, and whether it is dark. Frames that load later are light: look again.
    pub async fn look(&self, page: &Page, width: u32, height: u32, dark: bool) {
        let viewport = Some(Viewport { width, height });
        let set = SetViewport { context: page.0.clone(), viewport, device_pixel_ratio: None };
        self.bidi.send(set).await.unwrap();
        let scheme = json!([{"name": "prefers-color-scheme", "value": if dark { "dark" } else { "light" }}]);
        for place in self.places(page).await {
            // A frame that has just gone needs none.
            let _ = self.devtools(&place, "Emulation.setEmulatedMedia", json!({"features": scheme})).await;
        }
    }

    /// An image of what is seen, as PNG.
    pub async fn screenshot(&self, page: &Page) -> Vec<u8> {
        self.bidi.browsing_context().activate(page.0.clone()).await.unwrap();
        tokio::time::sleep(SETTLED_AFTER).await;
        let image = self.bidi.browsing_context().capture_screenshot(page.0.clone()).await.unwrap();
        BASE64.decode(image.data.as_bytes()).unwrap()
    }

    /// Keeps an image of the page in the folder that `RINGFORT_IMAGES` names, if it does.
    pub async fn image(&self, page: &Page, name: &str) {
        let Some(folder) = std::env::var_os("RINGFORT_IMAGES").map(PathBuf::from) else { return };
        std::fs::write(folder.join(name), self.screenshot(page).await).unwrap();
    }
}
